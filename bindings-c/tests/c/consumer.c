/* Consuming one by one, and the two halves of a call that is made once. */
#include "check.h"

#include <pthread.h>

static void it_hands_out_one_by_one_and_commits_together(onceward_queue *queue, onceward_subscription *subscription)
{
    onceward_consume_options options;
    onceward_consumer *consumer = NULL;
    onceward_delivery *delivery = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.batch = 2;
    for (int i = 0; i < 5; i++) {
        send_text(queue, "work", NULL);
    }
    OK(onceward_subscription_consume(subscription, &options, &consumer));
    for (int i = 0; i < 3; i++) {
        OK(onceward_consumer_receive(consumer, 5000, &delivery));
        onceward_message_view view = seen(delivery);
        CHECK(body_is(&view, "work"));
        OK(onceward_delivery_ack(delivery));
        STATUS(ONCEWARD_INVALID, onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
    }
    OK(onceward_consumer_flush(consumer));
    CHECK(counts(subscription).in_flight == 1 && counts(subscription).ready == 1);
    /* One is handed out and not settled, one is not handed out: both come back, the first as failed. */
    OK(onceward_consumer_receive(consumer, 0, &delivery));
    OK(onceward_consumer_close(consumer));
    OK(onceward_consumer_close(consumer));
    onceward_delivery_free(delivery);
    CHECK(counts(subscription).in_flight == 0 && counts(subscription).ready + counts(subscription).delayed == 2);
    delivery = (onceward_delivery *)consumer;
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, 0, &delivery));
    CHECK(delivery == NULL && strstr(onceward_error_message(), "closed") != NULL);
    STATUS(ONCEWARD_INVALID, onceward_consumer_flush(consumer));
    onceward_consumer_free(consumer);
    STATUS(ONCEWARD_INVALID, onceward_consumer_close(consumer));
    uint64_t purged = 0;
    OK(onceward_queue_purge(queue, &purged));
    CHECK(purged == 2);
}

static void *receives(void *consumer)
{
    onceward_delivery *delivery = NULL;
    STATUS(ONCEWARD_EMPTY, onceward_consumer_receive((onceward_consumer *)consumer, 24 * 3600 * 1000, &delivery));
    CHECK(delivery == NULL);
    return NULL;
}

static void stopping_ends_a_receive_that_waits(onceward_subscription *subscription)
{
    onceward_consumer *consumer = NULL;
    onceward_delivery *delivery = NULL;
    pthread_t thread;
    OK(onceward_subscription_consume(subscription, NULL, &consumer));
    STATUS(ONCEWARD_EMPTY, onceward_consumer_receive(consumer, 0, &delivery));
    CHECK(pthread_create(&thread, NULL, receives, consumer) == 0);
    OK(onceward_consumer_stop(consumer));
    CHECK(pthread_join(thread, NULL) == 0);
    STATUS(ONCEWARD_EMPTY, onceward_consumer_receive(consumer, 0, &delivery));
    /* Freed without closing. */
    onceward_consumer_free(consumer);
}

static void wrong_options_are_refused(onceward_subscription *subscription)
{
    onceward_consume_options options;
    onceward_consumer *consumer = NULL;
    onceward_delivery *delivery = NULL;
    memset(&options, 0, sizeof options);
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, &options, &consumer));
    options.size = sizeof options;
    options.batch = 10001;
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, &options, &consumer));
    options.batch = 1;
    options.lease_ms = -1;
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, &options, &consumer));
    CHECK(consumer == NULL);
    OK(onceward_subscription_consume(subscription, NULL, &consumer));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, -1, &delivery));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, INT64_MAX, &delivery));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, 24 * 3600 * 1000 + 1, &delivery));
    onceward_consumer_free(consumer);
}

static void a_call_is_begun_and_ended_in_two_calls(onceward_ledger *ledger)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_effect *effect = NULL;
    onceward_effect *other = NULL;
    onceward_bytes *result = NULL;
    int32_t todo = -1;
    OK(onceward_ledger_once_begin(ledger, "order-1", &park, &todo, &effect, &result));
    CHECK(todo == ONCEWARD_TODO_CALL && effect != NULL && result == NULL);
    /* While it lives nobody else makes the call. */
    STATUS(ONCEWARD_BUSY, onceward_ledger_once_begin(ledger, "order-1", &park, &todo, &other, NULL));
    CHECK(todo == ONCEWARD_TODO_NOTHING && other == NULL);
    STATUS(ONCEWARD_INVALID, onceward_effect_probed(effect, ONCEWARD_PROBE_APPLIED, NULL, 0, &todo, NULL));
    OK(onceward_effect_ended(effect, ONCEWARD_CALL_DONE, "receipt 7", 9));
    STATUS(ONCEWARD_INVALID, onceward_effect_ended(effect, ONCEWARD_CALL_DONE, "receipt 7", 9));
    STATUS(ONCEWARD_INVALID, onceward_effect_not_called(effect));
    onceward_effect_free(effect);
    OK(onceward_ledger_once_begin(ledger, "order-1", &park, &todo, &effect, &result));
    CHECK(todo == ONCEWARD_TODO_NOTHING && effect == NULL);
    CHECK(onceward_bytes_size(result) == 9 && memcmp(onceward_bytes_data(result), "receipt 7", 9) == 0);
    onceward_bytes_free(result);

    /* Not called, and failed: it may be made again. Unknown, and freed without a word: in doubt. */
    OK(onceward_ledger_once_begin(ledger, "order-2", &park, &todo, &effect, NULL));
    OK(onceward_effect_not_called(effect));
    onceward_effect_free(effect);
    OK(onceward_ledger_once_begin(ledger, "order-2", &park, &todo, &effect, NULL));
    STATUS(ONCEWARD_FAILED, onceward_effect_ended(effect, ONCEWARD_CALL_FAILED, "refused", 7));
    CHECK(strstr(onceward_error_message(), "refused") != NULL);
    onceward_effect_free(effect);
    OK(onceward_ledger_once_begin(ledger, "order-2", &park, &todo, &effect, NULL));
    STATUS(ONCEWARD_IN_DOUBT, onceward_effect_ended(effect, 12345, NULL, 0));
    onceward_effect_free(effect);
    STATUS(ONCEWARD_IN_DOUBT, onceward_ledger_once_begin(ledger, "order-2", &park, &todo, &effect, NULL));
    OK(onceward_ledger_once_begin(ledger, "order-3", &park, &todo, &effect, NULL));
    onceward_effect_free(effect);
    STATUS(ONCEWARD_IN_DOUBT, onceward_ledger_once_begin(ledger, "order-3", &park, &todo, &effect, NULL));
    CHECK(effect == NULL);
}

static void a_question_is_answered(onceward_ledger *ledger)
{
    onceward_once_options probe = once_options(ONCEWARD_PROBE);
    onceward_effect *effect = NULL;
    onceward_bytes *result = NULL;
    int32_t todo = -1;
    probe.settle_ms = 1;
    OK(onceward_ledger_once_begin(ledger, "asked-1", &probe, &todo, &effect, NULL));
    CHECK(todo == ONCEWARD_TODO_CALL);
    onceward_effect_free(effect);
    OK(onceward_ledger_once_begin(ledger, "asked-1", &probe, &todo, &effect, NULL));
    CHECK(todo == ONCEWARD_TODO_PROBE);
    STATUS(ONCEWARD_INVALID, onceward_effect_ended(effect, ONCEWARD_CALL_DONE, NULL, 0));
    OK(onceward_effect_probed(effect, ONCEWARD_PROBE_APPLIED, "found", 5, &todo, &result));
    CHECK(todo == ONCEWARD_TODO_NOTHING && onceward_bytes_size(result) == 5);
    STATUS(ONCEWARD_INVALID, onceward_effect_probed(effect, ONCEWARD_PROBE_APPLIED, "found", 5, &todo, NULL));
    onceward_bytes_free(result);
    onceward_effect_free(effect);

    /* It did not happen: the call is to be made now, with the same effect. Within the settle delay the answer does not count. */
    OK(onceward_ledger_once_begin(ledger, "asked-2", &probe, &todo, &effect, NULL));
    onceward_effect_free(effect);
    int32_t status = ONCEWARD_BUSY;
    effect = NULL;
    while (status == ONCEWARD_BUSY) {
        onceward_effect_free(effect);
        OK(onceward_ledger_once_begin(ledger, "asked-2", &probe, &todo, &effect, NULL));
        CHECK(todo == ONCEWARD_TODO_PROBE);
        status = onceward_effect_probed(effect, ONCEWARD_PROBE_NOT_APPLIED, NULL, 0, &todo, &result);
    }
    OK(status);
    CHECK(todo == ONCEWARD_TODO_CALL && result == NULL);
    OK(onceward_effect_ended(effect, ONCEWARD_CALL_DONE, "now", 3));
    onceward_effect_free(effect);
}

static void a_delivery_has_effects_of_its_own(onceward_queue *queue, onceward_subscription *subscription)
{
    onceward_once_options park = once_options(ONCEWARD_PARK);
    onceward_effect *effect = NULL;
    int32_t todo = -1;
    send_text(queue, "order", NULL);
    onceward_delivery *delivery = take(subscription);
    OK(onceward_delivery_once_begin(delivery, "charge", &park, &todo, &effect, NULL));
    CHECK(todo == ONCEWARD_TODO_CALL);
    OK(onceward_effect_ended(effect, ONCEWARD_CALL_DONE, "receipt", 7));
    onceward_effect_free(effect);
    OK(onceward_delivery_once_begin(delivery, "mail", &park, &todo, &effect, NULL));
    STATUS(ONCEWARD_IN_DOUBT, onceward_effect_ended(effect, ONCEWARD_CALL_UNKNOWN, "timed out", 9));
    CHECK(onceward_delivery_is_settled(delivery) == 1 && counts(subscription).in_doubt == 1);
    onceward_effect_free(effect);
    onceward_delivery_free(delivery);
}

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    onceward_ledger *ledger = NULL;
    OK(onceward_store_open("consumer.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    OK(onceward_ledger_open(store, "calls", NULL, &ledger));
    it_hands_out_one_by_one_and_commits_together(queue, subscription);
    stopping_ends_a_receive_that_waits(subscription);
    wrong_options_are_refused(subscription);
    a_call_is_begun_and_ended_in_two_calls(ledger);
    a_question_is_answered(ledger);
    a_delivery_has_effects_of_its_own(queue, subscription);
    onceward_ledger_free(ledger);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
