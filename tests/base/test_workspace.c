// SPDX-License-Identifier: MIT
// Opening workspaces: fresh ones, foreign databases, newer versions, a second writer; the schema as people read it.
#include "base/workspace.h"

#include "base/file.h"

#include "tests/support/test.h"

static char *folder;

static void test_create(void **state)
{
    (void)state;
    VcWorkspace ws, second;
    assert_error(vc_workspace_open(&ws, folder, VC_DB_READ, err), "is no workspace");
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_CREATE, err));
    assert_error(vc_workspace_open(&second, folder, VC_DB_WRITE, err), "another vicha command is writing");
    assert_ok(vc_workspace_open(&second, folder, VC_DB_READ, err)); // readers are welcome
    vc_workspace_close(&second);
    int64_t v;
    assert_ok(vc_db_int(ws.db, "PRAGMA application_id", 0, &v, err));
    assert_int_equal(v, 0x56434442);
    assert_ok(vc_db_int(ws.db, "PRAGMA page_size", 0, &v, err));
    assert_int_equal(v, 8192);
    assert_ok(vc_db_int(ws.db, "PRAGMA foreign_keys", 0, &v, err));
    assert_int_equal(v, 1);
    assert_ok(vc_meta_set(&ws, "key", "one", err));
    assert_ok(vc_meta_set(&ws, "key", "two", err));
    char *text;
    assert_ok(vc_meta_get(&ws, "key", &text, err));
    assert_string_equal(text, "two");
    free(text);
    assert_ok(vc_meta_get(&ws, "none", &text, err));
    assert_null(text);
    vc_workspace_close(&ws);
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_CREATE, err)); // again: the same database
    assert_ok(vc_db_int(ws.db, "SELECT count(*) FROM meta WHERE key = 'key'", 0, &v, err));
    assert_int_equal(v, 1);
    vc_workspace_close(&ws);
}

static void test_views(void **state)
{
    (void)state;
    VcWorkspace ws;
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(ws.db,
                         "INSERT INTO source VALUES(1, 's', '/photos', NULL, 0);"
                         "INSERT INTO image(image_id, source_id, key) VALUES(7, 1, 'a.jpg');"
                         "INSERT INTO caption(image_id, text) VALUES(7, 'a red caf\xC3\xA9'), (7, 'second');"
                         "INSERT INTO concept VALUES(1, 'cafe', 3, NULL, 0), (2, 'dogs', 2, NULL, 0);"
                         "INSERT INTO image_concept VALUES(7, 0, 2, 32767), (7, 1, 1, 16384)",
                         err));
    assert_ok(vc_workspace_build_indexes(&ws, err));
    assert_ok(vc_workspace_build_indexes(&ws, err));
    assert_ok(vc_workspace_rebuild_fts(&ws, err));
    VcStmt *q;
    bool row;
    assert_ok(vc_db_prepare(ws.db, &q, "SELECT caption, concepts, link FROM v_image", err));
    assert_ok(vc_stmt_step(q, &row, err));
    assert_true(row);
    assert_string_equal(vc_column_text(q, 0), "a red caf\xC3\xA9");
    assert_string_equal(vc_column_text(q, 1), "dogs, cafe");
    assert_string_equal(vc_column_text(q, 2), "/photos/a.jpg");
    vc_stmt_finish(&q);
    int64_t v;
    assert_ok(vc_db_int(ws.db, "SELECT rowid FROM caption_fts WHERE caption_fts MATCH 'cafe'", 0, &v, err));
    assert_int_equal(v, 1); // diacritics are folded
    assert_ok(vc_db_int(ws.db, "SELECT rowid FROM concept_fts WHERE concept_fts MATCH 'dog'", 0, &v, err));
    assert_int_equal(v, 2); // plurals are stemmed
    assert_error(vc_db_exec(ws.db, "INSERT INTO image(source_id, key) VALUES(99, 'x')", err), "FOREIGN KEY");
    assert_error(vc_db_exec(ws.db, "INSERT INTO run(settings) VALUES('{oops')", err), "CHECK");
    vc_workspace_close(&ws);
}

static void test_refusals(void **state)
{
    (void)state;
    VcWorkspace ws;
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(ws.db, "PRAGMA user_version = 99", err));
    vc_workspace_close(&ws);
    assert_error(vc_workspace_open(&ws, folder, VC_DB_WRITE, err), "newer vicha (schema 99");
    assert_error(vc_workspace_open(&ws, folder, VC_DB_CREATE, err), "newer vicha");
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_READ, err));
    vc_workspace_close(&ws);
    char *path = vc_path_join(folder, "vicha.db");
    VcDb *db;
    unlink(path);
    assert_ok(vc_db_open(&db, path, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(db, "CREATE TABLE theirs(x); PRAGMA application_id = 5", err));
    vc_db_close(&db);
    assert_error(vc_workspace_open(&ws, folder, VC_DB_CREATE, err), "is not a vicha database");
    assert_ok(vc_write_file(path, "this is text and no database at all, whatever its name", 54, err));
    assert_error(vc_workspace_open(&ws, folder, VC_DB_CREATE, err), "not a database");
    free(path);
}

// What a schema 1 was: ours without what came later.
static void make_old(void)
{
    VcWorkspace ws;
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_CREATE, err));
    assert_ok(vc_db_exec(ws.db,
                         "DROP INDEX image_rejected; PRAGMA user_version = 1;"
                         "INSERT INTO source VALUES(1, 's', '/photos', NULL, 0);"
                         "INSERT INTO image(image_id, row, source_id, key, status) VALUES(7, 3, 1, 'a.jpg', -30)",
                         err));
    vc_workspace_close(&ws);
}

static void test_migration(void **state)
{
    (void)state;
    VcWorkspace ws;
    VcDb *db;
    int64_t v;
    make_old();
    char *copy = vc_path_join(folder, "vicha.db.schema-1");
    // A reader changes nothing.
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_READ, err));
    vc_workspace_close(&ws);
    assert_false(vc_exists(copy));
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_WRITE, err));
    assert_ok(vc_db_int(ws.db, "PRAGMA user_version", 0, &v, err));
    assert_int_equal(v, VC_SCHEMA_VERSION);
    assert_ok(vc_db_int(ws.db, "SELECT row FROM image INDEXED BY image_rejected WHERE status < 0 AND row IS NOT NULL",
                        0, &v, err));
    assert_int_equal(v, 3);
    vc_workspace_close(&ws);
    // The copy is the database as it was.
    assert_ok(vc_db_open(&db, copy, VC_DB_READ, err));
    assert_ok(vc_db_int(db, "PRAGMA user_version", 0, &v, err));
    assert_int_equal(v, 1);
    assert_ok(vc_db_int(db, "PRAGMA application_id", 0, &v, err));
    assert_int_equal(v, VC_APPLICATION_ID);
    assert_ok(vc_db_int(db, "SELECT count(*) FROM image WHERE key = 'a.jpg'", 0, &v, err));
    assert_int_equal(v, 1);
    vc_db_close(&db);
    // Once is enough.
    unlink(copy);
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_WRITE, err));
    vc_workspace_close(&ws);
    assert_false(vc_exists(copy));
    free(copy);
}

static void test_failed_migration(void **state)
{
    (void)state;
    VcWorkspace ws;
    int64_t v;
    make_old();
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_READ, err));
    char *path = vc_strdup(vc_db_path(ws.db)), *copy = vc_path_join(folder, "vicha.db.schema-1");
    vc_workspace_close(&ws);
    VcDb *db;
    assert_ok(vc_db_open(&db, path, VC_DB_WRITE, err));
    assert_ok(vc_db_exec(db, "CREATE TABLE image_rejected(theirs)", err));
    vc_db_close(&db);
    assert_error(vc_workspace_open(&ws, folder, VC_DB_WRITE, err), "from schema 1 to 2 (it is as it was)");
    assert_true(vc_exists(copy));
    assert_ok(vc_db_open(&db, path, VC_DB_WRITE, err));
    assert_ok(vc_db_int(db, "PRAGMA user_version", 0, &v, err));
    assert_int_equal(v, 1);
    assert_ok(vc_db_exec(db, "DROP TABLE image_rejected", err));
    vc_db_close(&db);
    // Without a copy where that is asked for.
    unlink(copy);
    setenv("VICHA_NO_BACKUP", "1", 1);
    assert_ok(vc_workspace_open(&ws, folder, VC_DB_WRITE, err));
    unsetenv("VICHA_NO_BACKUP");
    vc_workspace_close(&ws);
    assert_false(vc_exists(copy));
    free(copy);
    free(path);
}

static int setup(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_create, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_views, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_migration, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_failed_migration, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
