"""What pydantic says of a wrong value, in the reader's language. In English it is pydantic's own sentence."""

from pydantic_core import ErrorDetails

from metering.i18n import N_, _

_SENTENCES = {
    "bool_type": N_("Input should be a valid boolean"),
    "dict_type": N_("Input should be a valid dictionary"),
    "extra_forbidden": N_("Extra inputs are not permitted"),
    "float_type": N_("Input should be a valid number"),
    "greater_than": N_("Input should be greater than {gt}"),
    "greater_than_equal": N_("Input should be greater than or equal to {ge}"),
    "int_from_float": N_("Input should be a valid integer, got a number with a fractional part"),
    "int_type": N_("Input should be a valid integer"),
    "less_than": N_("Input should be less than {lt}"),
    "less_than_equal": N_("Input should be less than or equal to {le}"),
    "enum": N_("Input should be {expected}"),
    "literal_error": N_("Input should be {expected}"),
    "missing": N_("Field required"),
    "model_type": N_("Input should be a valid dictionary or instance of {class_name}"),
    "path_type": N_("Input is not a valid path"),
    "string_pattern_mismatch": N_("String should match pattern '{pattern}'"),
    "string_type": N_("Input should be a valid string"),
    "tuple_type": N_("Input should be a valid tuple"),
}
"""Type of error → pydantic's template. What is not here stays English."""


def sentence(error: ErrorDetails) -> str:
    """One mistake, without its place."""
    said = error["msg"].removeprefix("Value error, ")
    template = _SENTENCES.get(error["type"], "")
    translated = _(template) if template else ""
    return said if translated == template else translated.format(**error.get("ctx", {}))
