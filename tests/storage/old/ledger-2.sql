-- A ledger as the last build of schema 2 wrote it, with what ledger-1.sql holds. Made by that build, then dumped; never edited.
BEGIN TRANSACTION;
CREATE TABLE checkpoint(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, heard_ms INTEGER NOT NULL, state BLOB NOT NULL,
  PRIMARY KEY(meter, reading_type, heard_ms)) WITHOUT ROWID;
INSERT INTO "checkpoint" VALUES('pv','energy_generation_total',1,X'');
CREATE TABLE event(
  id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, meter TEXT NOT NULL, reading_type TEXT NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL, change_seq INTEGER NOT NULL, noted_ms INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL DEFAULT 0);
CREATE TABLE interval(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, start_ms INTEGER NOT NULL, part INTEGER NOT NULL,
  revision INTEGER NOT NULL, end_ms INTEGER NOT NULL, opening INTEGER NOT NULL, closing INTEGER NOT NULL,
  emission_ug INTEGER, factor_id TEXT, coverage_ms INTEGER NOT NULL, edge_read INTEGER NOT NULL,
  quality INTEGER NOT NULL, closed INTEGER NOT NULL, change_seq INTEGER NOT NULL,
  PRIMARY KEY(meter, reading_type, start_ms, part, revision)) WITHOUT ROWID;
INSERT INTO "interval" VALUES('pv','energy_generation_total',1793458800000,0,1,1793459700000,0,100,0,'zero-self-generated-nonfossil',900000,1,0,1,1);
INSERT INTO "interval" VALUES('pv','energy_generation_total',1793459700000,0,1,1793460600000,100,200,0,'zero-self-generated-nonfossil',900000,1,0,1,1);
INSERT INTO "interval" VALUES('pv','energy_generation_total',1793460600000,0,1,1793461500000,200,300,0,'zero-self-generated-nonfossil',900000,1,0,1,1);
INSERT INTO "interval" VALUES('pv','energy_generation_total',1793461500000,0,1,1793462400000,300,400,0,'zero-self-generated-nonfossil',900000,1,0,1,1);
INSERT INTO "interval" VALUES('pv','energy_generation_total',1793462400000,0,1,1793463300000,400,500,0,'zero-self-generated-nonfossil',900000,1,0,1,1);
CREATE TABLE latest(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, value REAL NOT NULL,
  received_ms INTEGER NOT NULL, change_seq INTEGER NOT NULL, PRIMARY KEY(meter, reading_type)) WITHOUT ROWID;
INSERT INTO "latest" VALUES('pv','energy_generation_total',1793463300000,500.0,1793463300050,1);
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('ledger_id','94aa17604f5fe299');
CREATE TABLE progress(
  meter TEXT NOT NULL, reading_type TEXT NOT NULL, t_ms INTEGER NOT NULL, position INTEGER NOT NULL,
  pending INTEGER NOT NULL, change_seq INTEGER NOT NULL, PRIMARY KEY(meter, reading_type)) WITHOUT ROWID;
INSERT INTO "progress" VALUES('pv','energy_generation_total',1793463300000,500,0,1);
CREATE TABLE rebuild_point(
  worker INTEGER PRIMARY KEY, workers INTEGER NOT NULL, made_of TEXT NOT NULL, change_seq INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE snapshot(
  id INTEGER PRIMARY KEY CHECK(id = 1), journal_id TEXT NOT NULL, segment INTEGER NOT NULL, idx INTEGER NOT NULL,
  change_seq INTEGER NOT NULL, state BLOB NOT NULL);
INSERT INTO "snapshot" VALUES(1,'be0c60749658a829',14,0,1,X'');
CREATE INDEX interval_change ON interval(change_seq);
CREATE INDEX interval_restated ON interval(meter, reading_type, end_ms) WHERE revision > 1;
CREATE UNIQUE INDEX event_once ON event(meter, reading_type, kind, t_ms, detail) WHERE NOT withdrawn;
CREATE INDEX event_noted ON event(meter, reading_type, noted_ms);
COMMIT;
PRAGMA user_version=2;
