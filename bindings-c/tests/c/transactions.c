/* SQL, sends and acknowledgements in one commit. */
#include "check.h"

#include <math.h>

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *payments = NULL, *receipts = NULL;
    onceward_subscription *incoming = NULL, *outgoing = NULL;
    onceward_transaction *tx = NULL;
    onceward_rows *rows = NULL;
    uint64_t changed = 0;
    OK(onceward_store_open("transactions.db", NULL, &store));
    OK(onceward_queue_open(store, "payments", ONCEWARD_EXACTLY_ONCE, NULL, &payments));
    OK(onceward_queue_open(store, "receipts", ONCEWARD_EXACTLY_ONCE, NULL, &receipts));
    OK(onceward_subscription_open(payments, NULL, &incoming));
    OK(onceward_subscription_open(receipts, NULL, &outgoing));

    OK(onceward_store_transaction(store, &tx));
    OK(onceward_transaction_execute(tx, "CREATE TABLE entries(id INTEGER PRIMARY KEY, what, more)", NULL, 0, NULL));
    onceward_value many[6];
    many[0] = integer_value(1);
    many[1] = text_value("gr\xc3\xb6\xc3\x9f" "e");
    memset(&many[2], 0, sizeof many[2]);
    many[3] = integer_value(2);
    many[4] = many[2];
    many[4].value_type = ONCEWARD_REAL;
    many[4].real = 0.5;
    many[5] = text_value("abc");
    many[5].value_type = ONCEWARD_BLOB;
    OK(onceward_transaction_execute_many(tx, "INSERT INTO entries VALUES (?, ?, ?)", many, 3, 2, &changed));
    CHECK(changed == 2);
    OK(onceward_transaction_query(tx, "SELECT id, what, more FROM entries ORDER BY id", NULL, 0, &rows));
    CHECK(onceward_rows_count(rows) == 2 && onceward_rows_column_count(rows) == 3);
    CHECK(strcmp(onceward_rows_column_name(rows, 1), "what") == 0 && onceward_rows_column_name(rows, 3) == NULL);
    onceward_value value;
    OK(onceward_rows_get(rows, 0, 0, &value));
    CHECK(value.value_type == ONCEWARD_INTEGER && value.integer == 1);
    OK(onceward_rows_get(rows, 0, 1, &value));
    CHECK(value.value_type == ONCEWARD_TEXT && value.size == 7 && strcmp((const char *)value.data, (const char *)many[1].data) == 0);
    OK(onceward_rows_get(rows, 0, 2, &value));
    CHECK(value.value_type == ONCEWARD_NULL);
    OK(onceward_rows_get(rows, 1, 1, &value));
    CHECK(value.value_type == ONCEWARD_REAL && value.real > 0.4 && value.real < 0.6);
    OK(onceward_rows_get(rows, 1, 2, &value));
    CHECK(value.value_type == ONCEWARD_BLOB && value.size == 3 && memcmp(value.data, "abc", 3) == 0);
    STATUS(ONCEWARD_INVALID, onceward_rows_get(rows, 2, 0, &value));
    STATUS(ONCEWARD_INVALID, onceward_rows_get(rows, 0, 3, &value));
    onceward_rows_free(rows);
    value = many[4];
    value.real = NAN;
    STATUS(ONCEWARD_INVALID, onceward_transaction_query(tx, "SELECT ?", &value, 1, &rows));
    CHECK(rows == NULL && strstr(onceward_error_message(), "parameter 1 is NaN") != NULL);
    STATUS(ONCEWARD_SQL, onceward_transaction_query(tx, "SELECT * FROM nowhere", NULL, 0, &rows));
    CHECK(rows == NULL);
    STATUS(ONCEWARD_SQL, onceward_transaction_execute(tx, "DELETE FROM onceward_message", NULL, 0, NULL));
    OK(onceward_transaction_commit(tx));
    STATUS(ONCEWARD_INVALID, onceward_transaction_commit(tx));
    OK(onceward_transaction_rollback(tx));
    onceward_transaction_free(tx);

    /* Rolled back, nothing of it happened; committed, all of it. */
    send_text(payments, "1999", "order-42");
    onceward_delivery *delivery = take(incoming);
    for (int commit = 0; commit <= 1; commit++) {
        onceward_message receipt = message_of("receipt", "receipt-42");
        onceward_value three = integer_value(3);
        uint64_t id = 0;
        OK(onceward_delivery_transaction(delivery, &tx));
        OK(onceward_transaction_execute(tx, "INSERT INTO entries(id) VALUES (?)", &three, 1, &changed));
        OK(onceward_transaction_send(tx, receipts, &receipt, &id));
        CHECK(changed == 1 && id != 0);
        STATUS(ONCEWARD_DUPLICATE, onceward_transaction_send(tx, receipts, &receipt, &id));
        if (commit) {
            OK(onceward_transaction_commit(tx));
        }
        onceward_transaction_free(tx);
        CHECK(counts(outgoing).ready == (uint64_t)commit);
        CHECK(onceward_delivery_is_settled(delivery) == commit);
    }
    STATUS(ONCEWARD_INVALID, onceward_delivery_transaction(delivery, &tx));
    CHECK(tx == NULL);
    onceward_delivery_free(delivery);
    CHECK(counts(incoming).in_flight == 0);

    /* A lost lease takes everything with it. */
    delivery = take(outgoing);
    onceward_message_view view = seen(delivery);
    onceward_receipt receipt;
    receipt.message = view.id;
    receipt.token = view.token + 1;
    OK(onceward_store_transaction(store, &tx));
    OK(onceward_transaction_execute(tx, "DELETE FROM entries", NULL, 0, &changed));
    CHECK(changed == 3);
    STATUS(ONCEWARD_LEASE_LOST, onceward_transaction_ack(tx, outgoing, &receipt, 1));
    STATUS(ONCEWARD_INVALID, onceward_transaction_commit(tx));
    onceward_transaction_free(tx);
    receipt.token = view.token;
    OK(onceward_store_transaction(store, &tx));
    OK(onceward_transaction_ack(tx, outgoing, &receipt, 1));
    OK(onceward_transaction_query(tx, "SELECT count(*) FROM entries", NULL, 0, &rows));
    OK(onceward_rows_get(rows, 0, 0, &value));
    CHECK(value.integer == 3);
    onceward_rows_free(rows);
    OK(onceward_transaction_commit(tx));
    onceward_transaction_free(tx);
    STATUS(ONCEWARD_LEASE_LOST, onceward_delivery_nack(delivery, ONCEWARD_BACKOFF, NULL));
    onceward_delivery_free(delivery);

    onceward_subscription_free(outgoing);
    onceward_subscription_free(incoming);
    onceward_queue_free(receipts);
    onceward_queue_free(payments);
    onceward_store_free(store);
    puts("done");
    return 0;
}
