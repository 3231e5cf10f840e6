-- A projector as release 0.1.0 (schema 1) wrote it. Made by that release, then dumped; never edited.
BEGIN TRANSACTION;
CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "counter" VALUES('refused',3);
CREATE TABLE day(
  scope_kind TEXT NOT NULL, scope TEXT NOT NULL, start_ms INTEGER NOT NULL, energy INTEGER NOT NULL, present INTEGER NOT NULL,
  points_read INTEGER NOT NULL, estimated INTEGER NOT NULL, last_closed_ms INTEGER,
  PRIMARY KEY(scope_kind, scope, start_ms)) WITHOUT ROWID;
INSERT INTO "day" VALUES('enterprise','e1',1793462400000,1000,96,90,0,1793548800000);
INSERT INTO "day" VALUES('park','p',1793462400000,1000,96,90,0,1793548800000);
CREATE TABLE dirty(quarter_ms INTEGER PRIMARY KEY);
CREATE TABLE factor(month TEXT NOT NULL, method TEXT NOT NULL, factor_id TEXT NOT NULL, PRIMARY KEY(month, method)) WITHOUT ROWID;
INSERT INTO "factor" VALUES('2026-11','national','cn-national-2023');
CREATE TABLE gap(source TEXT NOT NULL, start INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY(source, until)) WITHOUT ROWID;
INSERT INTO "gap" VALUES('ledger',3,7);
CREATE TABLE month(
  month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(month, scope_kind, scope)) WITHOUT ROWID;
INSERT INTO "month" VALUES('2026-10','enterprise','e1',2);
CREATE TABLE refused(id INTEGER PRIMARY KEY, t_ms INTEGER NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE source(
  name TEXT PRIMARY KEY, origin TEXT NOT NULL, live INTEGER NOT NULL, marked INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "source" VALUES('ledger','abcdef',12,10);
PRAGMA user_version=1;
COMMIT;
