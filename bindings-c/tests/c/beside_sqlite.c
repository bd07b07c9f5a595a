/* Two copies of SQLite in one program, on one file: ours inside of the library, and the system's. */
#include "check.h"

#include <sqlite3.h>

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    sqlite3 *own = NULL;
    sqlite3_stmt *statement = NULL;
    OK(onceward_store_open("beside.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    CHECK(sqlite3_open("beside.db", &own) == SQLITE_OK);
    CHECK(sqlite3_busy_timeout(own, 5000) == SQLITE_OK);
    CHECK(sqlite3_exec(own, "CREATE TABLE mine(x)", NULL, NULL, NULL) == SQLITE_OK);
    for (int i = 0; i < 50; i++) {
        send_text(queue, "job", NULL);
        CHECK(sqlite3_exec(own, "INSERT INTO mine VALUES (1)", NULL, NULL, NULL) == SQLITE_OK);
    }
    CHECK(sqlite3_prepare_v2(own, "SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM onceward_message)", -1,
                             &statement, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    CHECK(sqlite3_column_int(statement, 0) == 50 && sqlite3_column_int(statement, 1) == 50);
    CHECK(sqlite3_finalize(statement) == SQLITE_OK && sqlite3_close(own) == SQLITE_OK);
    printf("%s beside %s\n", onceward_sqlite_version(), sqlite3_libversion());
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
