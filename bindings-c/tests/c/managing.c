/* Settings, subscriptions, dead letters, peeking, cancelling, purging, pausing, statistics. */
#include "check.h"

static void settings_stand_in_the_file(const onceward_store *store)
{
    onceward_queue_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.lease_ms = 1500;
    options.attempts_max = ONCEWARD_UNLIMITED;
    options.deduplication_window_ms = ONCEWARD_FOREVER;
    options.has_backoff = 1;
    options.backoff_first_ms = 10;
    options.backoff_factor = 3;
    options.backoff_cap_ms = 100;
    options.backoff_jitter = 0.25;
    const char *names[2] = {"billing", "audit"};
    options.subscriptions = names;
    options.subscription_count = 2;
    onceward_queue *queue = NULL;
    OK(onceward_queue_open(store, "settings", ONCEWARD_AT_LEAST_ONCE, &options, &queue));
    onceward_queue_free(queue);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.attempts_max = 7;
    OK(onceward_queue_open_existing(store, "settings", &options, &queue));
    onceward_queue_settings settings;
    OK(onceward_queue_get_settings(queue, &settings, sizeof settings));
    CHECK(settings.semantics == ONCEWARD_AT_LEAST_ONCE && settings.is_paused == 0);
    CHECK(settings.lease_ms == 1500 && settings.attempts_max == 7);
    CHECK(settings.deduplication_window_ms == ONCEWARD_FOREVER);
    CHECK(settings.backoff_first_ms == 10 && settings.backoff_cap_ms == 100);
    CHECK(settings.backoff_factor > 2.9 && settings.backoff_jitter > 0.2 && settings.backoff_jitter < 0.3);

    onceward_subscription *subscription = NULL;
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_open(queue, NULL, &subscription));
    CHECK(subscription == NULL && strstr(onceward_error_message(), "audit") != NULL);
    OK(onceward_subscription_create(queue, "late", ONCEWARD_START_OLDEST, &subscription));
    onceward_names *subscriptions = NULL;
    OK(onceward_queue_subscriptions(queue, &subscriptions));
    CHECK(onceward_names_count(subscriptions) == 3);
    CHECK(strcmp(onceward_names_get(subscriptions, 0), "audit") == 0);
    CHECK(strcmp(onceward_names_get(subscriptions, 2), "late") == 0);
    CHECK(onceward_names_get(subscriptions, 3) == NULL);
    onceward_names_free(subscriptions);
    OK(onceward_queue_unsubscribe(queue, "late"));
    onceward_stats stats;
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    STATUS(ONCEWARD_NOT_FOUND, onceward_queue_unsubscribe(queue, "late"));
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
}

static void dead_letters_are_listed_and_redriven(onceward_queue *queue, onceward_subscription *subscription)
{
    uint64_t ids[3];
    const char *bodies[3] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        ids[i] = send_text(queue, bodies[i], NULL);
        onceward_delivery *delivery = take(subscription);
        OK(onceward_delivery_dead_letter(delivery, "not ours"));
        onceward_delivery_free(delivery);
    }
    onceward_dead_letters *letters = NULL;
    OK(onceward_subscription_dead_letters(subscription, ids[0], 10, &letters));
    CHECK(onceward_dead_letters_count(letters) == 2);
    onceward_message_view view;
    onceward_dead_letter_view why;
    OK(onceward_dead_letters_get(letters, 0, &view, sizeof view));
    OK(onceward_dead_letters_why(letters, 0, &why, sizeof why));
    CHECK(view.id == ids[1] && view.token == 0 && view.attempt == 1 && body_is(&view, "b"));
    CHECK(strcmp(why.reason, "not ours") == 0 && why.error == NULL && why.died_at_ms > 0);
    STATUS(ONCEWARD_INVALID, onceward_dead_letters_why(letters, 2, &why, sizeof why));
    onceward_dead_letters_free(letters);

    uint64_t done = 9;
    OK(onceward_subscription_purge_dead(subscription, ids, 1, &done));
    CHECK(done == 1);
    OK(onceward_subscription_redrive(subscription, ids, 2, &done));
    CHECK(done == 1);
    OK(onceward_subscription_redrive_all(subscription, &done));
    CHECK(done == 1 && counts(subscription).ready == 2);
    OK(onceward_subscription_purge_dead_all(subscription, NULL));

    uint64_t unfinished[3];
    size_t unfinished_count = 0;
    OK(onceward_subscription_unfinished(subscription, ids, 3, unfinished, &unfinished_count));
    CHECK(unfinished_count == 2 && unfinished[0] == ids[1] && unfinished[1] == ids[2]);
}

static void messages_are_looked_at_and_taken_away(onceward_queue *queue, onceward_subscription *subscription)
{
    onceward_messages *messages = NULL;
    onceward_message_view view;
    OK(onceward_subscription_peek(subscription, 10, &messages));
    CHECK(onceward_messages_count(messages) == 2);
    OK(onceward_messages_get(messages, 1, &view, sizeof view));
    CHECK(body_is(&view, "c"));
    uint64_t id = view.id;
    onceward_messages_free(messages);
    STATUS(ONCEWARD_INVALID, onceward_subscription_peek(subscription, 0, &messages));

    OK(onceward_queue_cancel(queue, id));
    STATUS(ONCEWARD_EMPTY, onceward_queue_cancel(queue, id));
    onceward_delivery *delivery = take(subscription);
    STATUS(ONCEWARD_CONFLICT, onceward_queue_cancel(queue, seen(delivery).id));
    onceward_delivery_free(delivery);
    STATUS(ONCEWARD_INVALID, onceward_queue_cancel(queue, 7));

    onceward_message later = message_of("later", NULL);
    later.delay_ms = 3600000;
    OK(onceward_queue_send(queue, &later, NULL));
    later.delay_ms = 0;
    later.deliver_at_ms = 4102444800000;
    later.has_priority = 1;
    later.priority = 0;
    later.time_to_live_ms = 86400000;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &later, NULL));
    later.deliver_at_ms = 1000;
    OK(onceward_queue_send(queue, &later, NULL));
    CHECK(counts(subscription).delayed == 1 && counts(subscription).ready == 1);

    OK(onceward_queue_pause(queue));
    STATUS(ONCEWARD_EMPTY, onceward_subscription_receive(subscription, 0, &delivery));
    OK(onceward_queue_resume(queue));
    uint64_t purged = 0;
    OK(onceward_queue_purge(queue, &purged));
    CHECK(purged == 2 && counts(subscription).ready == 0 && counts(subscription).delayed == 0);
}

static void an_ended_subscription_says_so(const onceward_store *store)
{
    onceward_queue *queue = NULL;
    onceward_subscription *ended = NULL;
    onceward_consumer *consumer = NULL;
    onceward_transaction *tx = NULL;
    onceward_messages *messages = NULL;
    onceward_dead_letters *letters = NULL;
    onceward_receipt receipts[2], lost[2];
    onceward_delivery *deliveries[2], *none = NULL;
    onceward_stats stats;
    uint64_t id = 0;
    size_t count = 7;
    OK(onceward_queue_open(store, "ended", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_create(queue, "audit", ONCEWARD_START_NOW, &ended));
    OK(onceward_subscription_consume(ended, NULL, &consumer));
    for (int i = 0; i < 2; i++) {
        id = send_text(queue, "audited", NULL);
        deliveries[i] = take(ended);
        onceward_message_view view = seen(deliveries[i]);
        receipts[i].message = view.id;
        receipts[i].token = view.token;
    }
    OK(onceward_store_transaction(store, &tx));
    OK(onceward_queue_unsubscribe(queue, "audit"));
    STATUS(ONCEWARD_NOT_FOUND, onceward_queue_unsubscribe(queue, "audit"));
    OK(onceward_subscription_peek(ended, 10, &messages));
    OK(onceward_subscription_dead_letters(ended, 0, 10, &letters));
    CHECK(onceward_messages_count(messages) == 0 && onceward_dead_letters_count(letters) == 0);
    onceward_messages_free(messages);
    onceward_dead_letters_free(letters);
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_get_stats(ended, &stats, sizeof stats));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_unfinished(ended, &id, 1, &id, &count));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_redrive(ended, &id, 1, NULL));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_redrive_all(ended, NULL));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_purge_dead(ended, &id, 1, NULL));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_purge_dead_all(ended, NULL));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_receive(ended, 0, &none));
    STATUS(ONCEWARD_NOT_FOUND, onceward_consumer_receive(consumer, 0, &none));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_ack(ended, receipts, 2, lost, &count));
    STATUS(ONCEWARD_NOT_FOUND, onceward_subscription_extend(ended, receipts, 2, 1000, lost, &count));
    STATUS(ONCEWARD_NOT_FOUND, onceward_delivery_ack(deliveries[0]));
    STATUS(ONCEWARD_NOT_FOUND, onceward_delivery_extend(deliveries[0], 1000));
    STATUS(ONCEWARD_NOT_FOUND, onceward_transaction_ack(tx, ended, receipts, 2));
    OK(onceward_transaction_execute(tx, "CREATE TABLE kept(x)", NULL, 0, NULL));
    OK(onceward_transaction_commit(tx));
    onceward_transaction_free(tx);
    OK(onceward_delivery_transaction(deliveries[1], &tx));
    OK(onceward_transaction_execute(tx, "DROP TABLE kept", NULL, 0, NULL));
    STATUS(ONCEWARD_NOT_FOUND, onceward_transaction_commit(tx));
    onceward_transaction_free(tx);
    OK(onceward_store_transaction(store, &tx));
    OK(onceward_transaction_execute(tx, "INSERT INTO kept VALUES (1)", NULL, 0, NULL));
    onceward_transaction_free(tx);
    onceward_consumer_free(consumer);
    onceward_delivery_free(deliveries[0]);
    onceward_delivery_free(deliveries[1]);
    onceward_subscription_free(ended);
    onceward_queue_free(queue);
}

/* While somebody writes, calls that write wait and are busy in the end; those that read go on. */
static void only_writers_wait_for_a_writer(const onceward_store *store)
{
    onceward_store_options options;
    onceward_store *other = NULL;
    onceward_queue *queue = NULL, *ours = NULL;
    onceward_subscription *subscription = NULL;
    onceward_transaction *tx = NULL, *second = NULL;
    onceward_messages *messages = NULL;
    onceward_ledger *ledger = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.busy_timeout_ms = 1000;
    OK(onceward_store_open("managing.db", &options, &other));
    OK(onceward_ledger_open(other, "calls", NULL, &ledger));
    onceward_ledger_free(ledger);
    OK(onceward_queue_open_existing(store, "jobs", NULL, &ours));
    OK(onceward_store_transaction(store, &tx));
    OK(onceward_transaction_execute(tx, "CREATE TABLE written(x)", NULL, 0, NULL));
    OK(onceward_queue_open(other, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    OK(onceward_subscription_peek(subscription, 1, &messages));
    onceward_messages_free(messages);
    OK(onceward_ledger_open(other, "calls", NULL, &ledger));
    onceward_ledger_free(ledger);
    OK(onceward_store_transaction(other, &second));
    STATUS(ONCEWARD_BUSY, onceward_queue_pause(queue));
    STATUS(ONCEWARD_INVALID, onceward_queue_pause(ours));
    CHECK(strstr(onceward_error_message(), "transaction") != NULL);
    OK(onceward_transaction_rollback(tx));
    OK(onceward_queue_pause(queue));
    OK(onceward_queue_pause(ours));
    OK(onceward_queue_resume(ours));
    onceward_transaction_free(second);
    onceward_transaction_free(tx);
    onceward_subscription_free(subscription);
    onceward_queue_free(ours);
    onceward_queue_free(queue);
    onceward_store_free(other);
}

int main(void)
{
    onceward_store *store = NULL;
    OK(onceward_store_open("managing.db", NULL, &store));
    settings_stand_in_the_file(store);
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    dead_letters_are_listed_and_redriven(queue, subscription);
    messages_are_looked_at_and_taken_away(queue, subscription);
    onceward_names *names = NULL;
    OK(onceward_store_queues(store, &names));
    CHECK(onceward_names_count(names) == 2 && strcmp(onceward_names_get(names, 0), "jobs") == 0);
    onceward_names_free(names);
    onceward_store_stats stats;
    OK(onceward_store_get_stats(store, &stats, sizeof stats));
    CHECK(stats.queues == 2 && stats.file_bytes > 0 && stats.in_doubt == 0);
    an_ended_subscription_says_so(store);
    only_writers_wait_for_a_writer(store);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
