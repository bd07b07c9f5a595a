/* Sending, receiving and settling, one and many. */
#include "check.h"

static void sends_and_receives(const onceward_store *store)
{
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_queue_open(store, "one", ONCEWARD_EXACTLY_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    CHECK(strcmp(onceward_queue_name(queue), "one") == 0);

    onceward_delivery *delivery = (onceward_delivery *)queue;
    STATUS(ONCEWARD_EMPTY, onceward_subscription_receive(subscription, 0, &delivery));
    CHECK(delivery == NULL);

    onceward_header headers[2];
    memset(headers, 0, sizeof headers);
    headers[0].name = "type";
    headers[0].value = "text/plain";
    headers[0].value_size = 10;
    headers[0].value_type = ONCEWARD_HEADER_TEXT;
    headers[1].name = "bytes";
    headers[1].value = "\0\1";
    headers[1].value_size = 2;
    onceward_message message = message_of("1999 cents", "order-42");
    message.headers = headers;
    message.header_count = 2;
    uint64_t id = 0, again = 0;
    OK(onceward_queue_send(queue, &message, &id));
    STATUS(ONCEWARD_DUPLICATE, onceward_queue_send(queue, &message, &again));
    CHECK(id != 0 && id == again);
    message.body_size = 4;
    STATUS(ONCEWARD_CONFLICT, onceward_queue_send(queue, &message, &again));
    CHECK(again == 0);
    CHECK(onceward_error_status() == ONCEWARD_CONFLICT && strstr(onceward_error_message(), "order-42") != NULL);
    message.key = NULL;
    STATUS(ONCEWARD_INVALID, onceward_queue_send(queue, &message, NULL));

    delivery = take(subscription);
    onceward_message_view view = seen(delivery);
    CHECK(view.id == id && view.token != 0 && view.attempt == 1 && view.priority == 4);
    CHECK(body_is(&view, "1999 cents") && strcmp(view.key, "order-42") == 0 && view.ordering_key == NULL);
    CHECK(view.sent_at_ms > 0 && view.lease_expires_at_ms > view.sent_at_ms);
    CHECK(view.header_count == 2);
    CHECK(strcmp(view.headers[0].name, "bytes") == 0 && view.headers[0].value_size == 2);
    CHECK(view.headers[0].value_type == ONCEWARD_HEADER_BYTES && memcmp(view.headers[0].value, "\0\1", 2) == 0);
    CHECK(strcmp(view.headers[1].name, "type") == 0 && view.headers[1].value_type == ONCEWARD_HEADER_TEXT);
    CHECK(strcmp((const char *)view.headers[1].value, "text/plain") == 0);

    OK(onceward_delivery_extend(delivery, 60000));
    OK(onceward_delivery_nack(delivery, 0, "try again"));
    CHECK(onceward_delivery_is_settled(delivery));
    STATUS(ONCEWARD_INVALID, onceward_delivery_ack(delivery));
    STATUS(ONCEWARD_INVALID, onceward_delivery_extend(delivery, 60000));
    onceward_delivery_free(delivery);

    delivery = take(subscription);
    CHECK(seen(delivery).attempt == 2);
    OK(onceward_delivery_release(delivery));
    onceward_delivery_free(delivery);
    delivery = take(subscription);
    CHECK(seen(delivery).attempt == 2);
    CHECK(!onceward_delivery_is_settled(delivery));
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
    CHECK(counts(subscription).ready == 0 && counts(subscription).in_flight == 0);
    CHECK(counts(subscription).oldest_age_ms == -1);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
}

static void sends_and_settles_many(const onceward_store *store)
{
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_queue_open(store, "many", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, "default", &subscription));

    enum { COUNT = 6 };
    char bodies[COUNT][8], keys[COUNT][8];
    onceward_message messages[COUNT];
    onceward_sent sent[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(bodies[i], sizeof bodies[i], "body%d", i);
        snprintf(keys[i], sizeof keys[i], "key%d", i % 5);
        messages[i] = message_of(i == 5 ? bodies[0] : bodies[i], keys[i]);
    }
    OK(onceward_queue_send_many(queue, messages, COUNT, sent));
    CHECK(!sent[4].is_duplicate && sent[5].is_duplicate && sent[5].id == sent[0].id);
    OK(onceward_queue_send_many(queue, NULL, 0, NULL));
    messages[3].size -= 8;
    STATUS(ONCEWARD_INVALID, onceward_queue_send_many(queue, messages, COUNT, NULL));
    CHECK(strstr(onceward_error_message(), "message 3") != NULL);

    onceward_receive_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max = 100;
    options.lease_ms = 60000;
    onceward_batch *batch = NULL;
    OK(onceward_subscription_receive_many(subscription, &options, &batch));
    CHECK(onceward_batch_count(batch) == 5);
    onceward_message_view view;
    OK(onceward_batch_get(batch, 4, &view, sizeof view));
    CHECK(body_is(&view, "body4"));
    STATUS(ONCEWARD_INVALID, onceward_batch_get(batch, 5, &view, sizeof view));

    onceward_receipt receipts[5], lost[5];
    size_t lost_count = 9;
    STATUS(ONCEWARD_INVALID, onceward_batch_receipts(batch, receipts, 4));
    OK(onceward_batch_receipts(batch, receipts, 5));
    CHECK(receipts[4].message == view.id && receipts[4].token == view.token);
    OK(onceward_subscription_extend(subscription, receipts, 5, 90000, lost, &lost_count));
    OK(onceward_subscription_nack(subscription, receipts, 1, 0, "bad", lost, &lost_count));
    OK(onceward_subscription_dead_letter(subscription, receipts + 1, 1, "poison", NULL, NULL));
    OK(onceward_subscription_release(subscription, receipts + 2, 1, NULL, NULL));
    onceward_delivery *fourth = NULL;
    OK(onceward_batch_delivery(batch, 3, &fourth));
    onceward_batch_free(batch);
    view = seen(fourth);
    CHECK(body_is(&view, "body3"));
    OK(onceward_delivery_ack(fourth));
    onceward_delivery_free(fourth);

    STATUS(ONCEWARD_SOME_LOST, onceward_subscription_ack(subscription, receipts, 5, lost, &lost_count));
    CHECK(lost_count == 3);
    CHECK(lost[0].message == receipts[0].message && lost[2].message == receipts[2].message);
    onceward_stats stats = counts(subscription);
    CHECK(stats.ready == 2 && stats.dead == 1 && stats.in_flight == 0);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
}

static void at_most_once_is_gone_when_it_is_handed_over(const onceward_store *store)
{
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_queue_open(store, "hints", ONCEWARD_AT_MOST_ONCE, NULL, &queue));
    onceward_queue_free(queue);
    STATUS(ONCEWARD_CONFLICT, onceward_queue_open(store, "hints", ONCEWARD_EXACTLY_ONCE, NULL, &queue));
    CHECK(queue == NULL);
    OK(onceward_queue_open_existing(store, "hints", NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    send_text(queue, "hint", NULL);
    onceward_delivery *delivery = take(subscription);
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
    send_text(queue, "hint", NULL);
    delivery = take(subscription);
    STATUS(ONCEWARD_INVALID, onceward_delivery_nack(delivery, ONCEWARD_BACKOFF, NULL));
    onceward_delivery_free(delivery);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
}

int main(void)
{
    CHECK(onceward_abi_version() == ONCEWARD_ABI_VERSION);
    char numbers[64];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", ONCEWARD_VERSION_MAJOR, ONCEWARD_VERSION_MINOR, ONCEWARD_VERSION_PATCH);
    CHECK(strcmp(onceward_version(), ONCEWARD_VERSION) == 0 && strcmp(numbers, ONCEWARD_VERSION) == 0);
    CHECK(strncmp(onceward_sqlite_version(), "3.", 2) == 0);
    CHECK(onceward_error_status() == ONCEWARD_OK && onceward_error_message()[0] == '\0');

    onceward_store *store = NULL;
    OK(onceward_store_open("queues.db", NULL, &store));
    sends_and_receives(store);
    sends_and_settles_many(store);
    at_most_once_is_gone_when_it_is_handed_over(store);
    OK(onceward_store_close(store));
    OK(onceward_store_close(store));
    onceward_store_free(store);

    /* What was there stays there, with its attempt. */
    onceward_store_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.must_exist = 1;
    options.busy_timeout_ms = 1000;
    OK(onceward_store_open("queues.db", &options, &store));
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    OK(onceward_queue_open_existing(store, "many", NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));
    CHECK(counts(subscription).ready == 2);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
