"""Names that stay for ever: links, bookmarks and `tanyun grafana push` rely on them."""

PREFIX = "tanyun-"
"""Of every uid and name that is ours. What does not begin with it is never touched."""
DATASOURCE = "tanyun-influx"
FOLDER = "tanyun-folder"
FOLDER_TITLE = "碳云 Tanyun"
TAG = "tanyun"
"""On every dashboard, so that they link to each other."""
APP = ("app", "tanyun")
"""On every alert, so that our notification route takes ours and no others."""

FLEET = "tanyun-fleet"
SUBSTATION = "tanyun-substation"
CARBON = "tanyun-carbon"
MONTHS = "tanyun-months"
QUALITY = "tanyun-quality"
PIPELINE = "tanyun-pipeline"
