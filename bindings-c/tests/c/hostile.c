/* Everything that a program should not do and does: statuses, and never a crash. */
#include "check.h"

#include <pthread.h>

static int32_t unreachable(void *context, onceward_outcome *outcome)
{
    (void)context;
    (void)outcome;
    abort();
}

static void null_is_an_error_everywhere(void)
{
    char key[ONCEWARD_IDEMPOTENCY_KEY_SIZE];
    STATUS(ONCEWARD_INVALID, onceward_store_open(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_close(NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_queues(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_ledgers(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_store_transaction(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_in_doubt(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_resolve(NULL, 1, ONCEWARD_APPLIED, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_store_resolutions(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(NULL, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_open_existing(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_get_settings(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_queue_send(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_send_many(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_cancel(NULL, 1));
    STATUS(ONCEWARD_INVALID, onceward_queue_purge(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_pause(NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_resume(NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_subscriptions(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_unsubscribe(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_open(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_create(NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_get_stats(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_subscription_peek(NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_dead_letters(NULL, 0, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_redrive(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_redrive_all(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_purge_dead(NULL, NULL, 1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_purge_dead_all(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_unfinished(NULL, NULL, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_receive(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_receive_many(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_ack(NULL, NULL, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_nack(NULL, NULL, 0, 0, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_dead_letter(NULL, NULL, 0, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_release(NULL, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_extend(NULL, NULL, 0, 1, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_batch_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_batch_delivery(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_batch_receipts(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_delivery_get(NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_delivery_ack(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_nack(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_dead_letter(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_release(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_extend(NULL, 1));
    STATUS(ONCEWARD_INVALID, onceward_delivery_idempotency_key(NULL, "x", key, sizeof key));
    STATUS(ONCEWARD_INVALID, onceward_delivery_subscription(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_open(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_descriptor(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_readiness_clear(NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_flush(NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_stop(NULL));
    STATUS(ONCEWARD_INVALID, onceward_consumer_close(NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once_begin(NULL, NULL, NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_once_begin(NULL, NULL, NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_effect_ended(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_effect_not_called(NULL));
    STATUS(ONCEWARD_INVALID, onceward_effect_probed(NULL, 0, NULL, 0, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_transaction(NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_delivery_once(NULL, NULL, NULL, unreachable, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_execute(NULL, NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_execute_many(NULL, NULL, NULL, (size_t)-1, (size_t)-1, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_query(NULL, NULL, NULL, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_send(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_ack(NULL, NULL, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_transaction_commit(NULL));
    STATUS(ONCEWARD_INVALID, onceward_transaction_rollback(NULL));
    STATUS(ONCEWARD_INVALID, onceward_rows_get(NULL, 0, 0, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_open(NULL, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_once(NULL, NULL, NULL, unreachable, NULL, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_ledger_idempotency_key(NULL, "x", key, sizeof key));
    STATUS(ONCEWARD_INVALID, onceward_outcome_set(NULL, "x", 1));
    STATUS(ONCEWARD_INVALID, onceward_messages_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_dead_letters_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_dead_letters_why(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_doubts_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_resolutions_get(NULL, 0, NULL, 0));
    STATUS(ONCEWARD_INVALID, onceward_resolutions_answer(NULL, 0, NULL, 0));
    CHECK(onceward_queue_name(NULL) == NULL && onceward_names_get(NULL, 0) == NULL);
    CHECK(onceward_rows_column_name(NULL, 0) == NULL && onceward_bytes_data(NULL) == NULL);
    CHECK(onceward_names_count(NULL) + onceward_messages_count(NULL) + onceward_dead_letters_count(NULL) == 0);
    CHECK(onceward_batch_count(NULL) + onceward_rows_count(NULL) + onceward_rows_column_count(NULL) == 0);
    CHECK(onceward_doubts_count(NULL) + onceward_resolutions_count(NULL) + onceward_bytes_size(NULL) == 0);
    CHECK(onceward_delivery_is_settled(NULL) == 0);
    onceward_store_free(NULL);
    onceward_queue_free(NULL);
    onceward_subscription_free(NULL);
    onceward_delivery_free(NULL);
    onceward_batch_free(NULL);
    onceward_transaction_free(NULL);
    onceward_rows_free(NULL);
    onceward_ledger_free(NULL);
    onceward_bytes_free(NULL);
    onceward_names_free(NULL);
    onceward_messages_free(NULL);
    onceward_dead_letters_free(NULL);
    onceward_doubts_free(NULL);
    onceward_resolutions_free(NULL);
    onceward_readiness_free(NULL);
    onceward_consumer_free(NULL);
    onceward_effect_free(NULL);
}

static void freed_and_foreign_handles_are_told_apart(onceward_store *store, onceward_queue *queue)
{
    onceward_subscription *subscription = NULL;
    OK(onceward_subscription_open(queue, NULL, &subscription));
    STATUS(ONCEWARD_INVALID, onceward_queue_pause((onceward_queue *)subscription));
    CHECK(strstr(onceward_error_message(), "onceward_subscription") != NULL);
    onceward_queue_free((onceward_queue *)subscription);
    CHECK(counts(subscription).dead == 0);
    onceward_subscription_free(subscription);
    onceward_subscription_free(subscription);
    onceward_stats stats;
    STATUS(ONCEWARD_INVALID, onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    int number = 7;
    STATUS(ONCEWARD_INVALID, onceward_store_close((onceward_store *)(void *)&number));
    onceward_store_free((onceward_store *)(void *)&number);
    STATUS(ONCEWARD_INVALID, onceward_store_close((onceward_store *)(size_t)1));

    /* Options and structures of wrong sizes. */
    onceward_store_options options;
    memset(&options, 0, sizeof options);
    onceward_store *other = store;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    CHECK(other == NULL && strstr(onceward_error_message(), "sizeof") != NULL);
    options.size = sizeof options + 1;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    options.size = 7;
    STATUS(ONCEWARD_INVALID, onceward_store_open("x.db", &options, &other));
    options.size = sizeof options.size;
    OK(onceward_store_open("shorter.db", &options, &other));
    onceward_store_stats whole;
    memset(&whole, 0x5a, sizeof whole);
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(other, &whole, sizeof whole + 1));
    STATUS(ONCEWARD_INVALID, onceward_store_get_stats(other, &whole, 0));
    OK(onceward_store_get_stats(other, &whole, sizeof whole.file_bytes));
    CHECK(whole.queues == 0x5a5a5a5a5a5a5a5a);
    onceward_store_free(other);

    /* Texts that are none, and numbers out of their limits. */
    onceward_queue *bad = NULL;
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "\xff\xfe", ONCEWARD_AT_LEAST_ONCE, NULL, &bad));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "", ONCEWARD_AT_LEAST_ONCE, NULL, &bad));
    STATUS(ONCEWARD_INVALID, onceward_queue_open(store, "q", 0, NULL, &bad));
    onceward_message message = message_of("x", NULL);
    message.delay_ms = -5;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.has_priority = 1;
    message.priority = 260;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.body_size = (size_t)-1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message.body = NULL;
    message.body_size = 1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    message = message_of("x", NULL);
    message.header_count = 1;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));
    STATUS(ONCEWARD_INVALID, onceward_queue_send_many(queue, &message, 10001, NULL));
    CHECK(strcmp(onceward_status_name(12345), "Unknown") == 0);
    CHECK(strcmp(onceward_status_name(ONCEWARD_LEASE_LOST), "LeaseLost") == 0);
}

enum { THREADS = 4, EACH = 25 };

struct work {
    const onceward_queue *queue;
    onceward_subscription *subscription;
    int taken;
};

static void *works(void *given)
{
    struct work *work = (struct work *)given;
    CHECK(onceward_error_status() == ONCEWARD_OK);
    for (int i = 0; i < EACH; i++) {
        send_text(work->queue, "work", NULL);
        onceward_delivery *delivery = take(work->subscription);
        OK(onceward_delivery_ack(delivery));
        STATUS(ONCEWARD_INVALID, onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
        work->taken++;
    }
    /* Whoever comes first frees it; the others are told that it is gone, or free nothing. */
    onceward_subscription_free(work->subscription);
    return NULL;
}

static void threads_share_handles(onceward_queue *queue)
{
    pthread_t threads[THREADS];
    struct work work[THREADS];
    for (int i = 0; i < THREADS; i++) {
        work[i].queue = queue;
        work[i].subscription = NULL;
        work[i].taken = 0;
        OK(onceward_subscription_open(queue, NULL, &work[i].subscription));
        CHECK(pthread_create(&threads[i], NULL, works, &work[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(work[i].taken == EACH);
    }
}

static void everything_made_from_a_closed_store_says_so(onceward_store *store, onceward_queue *queue)
{
    onceward_subscription *subscription = NULL;
    onceward_transaction *tx = NULL;
    onceward_ledger *ledger = NULL;
    onceward_delivery *other = NULL;
    onceward_once_options park;
    memset(&park, 0, sizeof park);
    park.size = sizeof park;
    park.on_unknown = ONCEWARD_PARK;
    OK(onceward_subscription_open(queue, NULL, &subscription));
    OK(onceward_ledger_open(store, "l", NULL, &ledger));
    send_text(queue, "held", NULL);
    onceward_delivery *delivery = take(subscription);
    OK(onceward_delivery_transaction(delivery, &tx));
    OK(onceward_store_close(store));
    onceward_message message = message_of("x", NULL);
    onceward_stats stats;
    STATUS(ONCEWARD_CLOSED, onceward_queue_send(queue, &message, NULL));
    STATUS(ONCEWARD_CLOSED, onceward_subscription_receive(subscription, 0, &other));
    STATUS(ONCEWARD_CLOSED, onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    STATUS(ONCEWARD_CLOSED, onceward_delivery_ack(delivery));
    STATUS(ONCEWARD_CLOSED, onceward_delivery_extend(delivery, 1000));
    STATUS(ONCEWARD_CLOSED, onceward_transaction_execute(tx, "CREATE TABLE t(x)", NULL, 0, NULL));
    STATUS(ONCEWARD_CLOSED, onceward_delivery_once(delivery, "x", &park, unreachable, NULL, NULL, NULL));
    STATUS(ONCEWARD_CLOSED, onceward_ledger_once(ledger, "x", &park, unreachable, NULL, NULL, NULL));
    onceward_message_view view = seen(delivery);
    CHECK(body_is(&view, "held"));
    onceward_transaction_free(tx);
    onceward_delivery_free(delivery);
    onceward_ledger_free(ledger);
    onceward_subscription_free(subscription);
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    null_is_an_error_everywhere();
    STATUS(ONCEWARD_NOT_FOUND, onceward_store_open("no/such/folder.db", NULL, &store));
    OK(onceward_store_open("hostile.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    freed_and_foreign_handles_are_told_apart(store, queue);
    threads_share_handles(queue);
    everything_made_from_a_closed_store_says_so(store, queue);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
