-- A months as release 0.1.0 (schema 1) wrote it. Made by that release, then dumped; never edited.
BEGIN TRANSACTION;
CREATE TABLE month(
  month TEXT NOT NULL, scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, revision INTEGER NOT NULL,
  outcome TEXT NOT NULL, closed_at_ms INTEGER NOT NULL, reason TEXT, document BLOB NOT NULL, digest TEXT NOT NULL,
  PRIMARY KEY(month, scope_kind, scope_id, revision)) WITHOUT ROWID;
INSERT INTO "month" VALUES('2026-10','park','p',1,'PASS',1,NULL,X'7B22656E65726779223A317D','a639f8a6cb2b8592732204d683d11a6180d23462d95f1033e94161fb37399579');
CREATE TRIGGER month_is_frozen BEFORE UPDATE ON month BEGIN SELECT raise(ABORT, 'a closed month never changes'); END;
CREATE TRIGGER month_is_not_replaced BEFORE INSERT ON month WHEN EXISTS(
  SELECT 1 FROM month WHERE month=NEW.month AND scope_kind=NEW.scope_kind AND scope_id=NEW.scope_id AND revision=NEW.revision)
BEGIN SELECT raise(ABORT, 'a closed month never changes'); END;
CREATE TRIGGER month_is_kept BEFORE DELETE ON month BEGIN SELECT raise(ABORT, 'a closed month is never deleted'); END;
COMMIT;
PRAGMA user_version=1;
