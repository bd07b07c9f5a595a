/* Books the orders that sender.c sends: worker FILE
 *
 * The entry and the acknowledgement are one commit, so each order is booked exactly once, whenever this program is killed. It ends
 * when nothing came for a second. */
#include <onceward.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int32_t status, const char *what)
{
    if (status == ONCEWARD_OK) {
        return;
    }
    fprintf(stderr, "%s: %s: %s\n", what, onceward_status_name(status), onceward_error_message());
    exit(1);
}

static onceward_value text(const void *data, size_t size)
{
    onceward_value value;
    memset(&value, 0, sizeof value);
    value.value_type = ONCEWARD_TEXT;
    value.data = data;
    value.size = size;
    return value;
}

/* Books one order, in one commit with its acknowledgement. */
static int32_t book(onceward_delivery *delivery, const onceward_message_view *order)
{
    onceward_transaction *transaction = NULL;
    onceward_value values[2];
    int32_t status = onceward_delivery_transaction(delivery, &transaction);
    values[0] = text(order->key, strlen(order->key));
    values[1] = text(order->body, order->body_size);
    if (status == ONCEWARD_OK) {
        status = onceward_transaction_execute(
            transaction, "INSERT INTO entries(order_id, cents) VALUES (?, CAST(? AS INTEGER))", values, 2, NULL);
    }
    if (status == ONCEWARD_OK) {
        status = onceward_transaction_commit(transaction);
    }
    onceward_transaction_free(transaction);
    return status;
}

static void create_table(onceward_store *store)
{
    onceward_transaction *transaction = NULL;
    check(onceward_store_transaction(store, &transaction), "transaction");
    check(onceward_transaction_execute(
              transaction, "CREATE TABLE IF NOT EXISTS entries(order_id TEXT PRIMARY KEY, cents INTEGER)", NULL, 0, NULL),
          "create");
    check(onceward_transaction_commit(transaction), "commit");
    onceward_transaction_free(transaction);
}

int main(int count, char **arguments)
{
    onceward_store *store = NULL;
    onceward_queue *payments = NULL;
    onceward_subscription *subscription = NULL;
    onceward_delivery *delivery = NULL;
    int32_t status;
    if (count != 2) {
        fprintf(stderr, "usage: %s FILE\n", arguments[0]);
        return 2;
    }
    check(onceward_store_open(arguments[1], NULL, &store), "open");
    check(onceward_queue_open(store, "payments", ONCEWARD_EXACTLY_ONCE, NULL, &payments), "queue");
    check(onceward_subscription_open(payments, NULL, &subscription), "subscription");
    create_table(store);
    while ((status = onceward_subscription_receive(subscription, 1000, &delivery)) == ONCEWARD_OK) {
        onceward_message_view order;
        check(onceward_delivery_get(delivery, &order, sizeof order), "view");
        status = book(delivery, &order);
        if (status == ONCEWARD_OK) {
            printf("order %s: %.*s cents\n", order.key, (int)order.body_size, (const char *)order.body);
        } else if (status == ONCEWARD_LEASE_LOST) {
            printf("order %s: somebody else has it now\n", order.key);
        } else {
            char why[512];
            snprintf(why, sizeof why, "%s", onceward_error_message());
            fprintf(stderr, "order %s: %s\n", order.key, why);
            status = onceward_delivery_nack(delivery, ONCEWARD_BACKOFF, why);
            if (status != ONCEWARD_LEASE_LOST) {
                check(status, "nack");
            }
        }
        onceward_delivery_free(delivery);
    }
    if (status != ONCEWARD_EMPTY) {
        check(status, "receive");
    }
    onceward_subscription_free(subscription);
    onceward_queue_free(payments);
    check(onceward_store_close(store), "close");
    onceward_store_free(store);
    return 0;
}
