/* Consuming: noted acknowledgements, stopping, closing, and what is refused. */
#include "check.h"

int main(void)
{
    onceward_store *store = NULL;
    onceward_queue *queue = NULL;
    onceward_subscription *subscription = NULL;
    onceward_consumer *consumer = NULL;
    onceward_delivery *delivery = NULL, *kept = NULL;
    onceward_consumer_options options;
    memset(&options, 0, sizeof options);
    OK(onceward_store_open("app.db", NULL, &store));
    OK(onceward_queue_open(store, "jobs", ONCEWARD_AT_LEAST_ONCE, NULL, &queue));
    OK(onceward_subscription_open(queue, NULL, &subscription));

    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(NULL, NULL, &consumer));
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, NULL, NULL));
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, &options, &consumer));
    options.size = sizeof options;
    options.batch = 10001;
    STATUS(ONCEWARD_INVALID, onceward_subscription_consume(subscription, &options, &consumer));
    CHECK(strstr(onceward_error_message(), "10001") != NULL && consumer == NULL);
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(NULL, 0, &delivery));
    STATUS(ONCEWARD_INVALID, onceward_consumer_flush((onceward_consumer *)queue));

    send_text(queue, "a", NULL);
    send_text(queue, "b", NULL);
    send_text(queue, "c", NULL);
    options.batch = 2;
    OK(onceward_subscription_consume(subscription, &options, &consumer));
    OK(onceward_consumer_receive(consumer, 0, &delivery));
    OK(onceward_delivery_ack(delivery));
    onceward_delivery_free(delivery);
    OK(onceward_consumer_flush(consumer));
    CHECK(counts(subscription).in_flight == 1);
    OK(onceward_consumer_receive(consumer, 0, &kept));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, -1, &delivery));
    OK(onceward_consumer_stop(consumer));
    STATUS(ONCEWARD_EMPTY, onceward_consumer_receive(consumer, 60000, &delivery));
    OK(onceward_consumer_close(consumer));
    OK(onceward_consumer_close(consumer));
    STATUS(ONCEWARD_INVALID, onceward_consumer_receive(consumer, 0, &delivery));
    STATUS(ONCEWARD_INVALID, onceward_consumer_flush(consumer));
    CHECK(counts(subscription).ready == 1 && counts(subscription).delayed == 1);
    STATUS(ONCEWARD_LEASE_LOST, onceward_delivery_ack(kept));
    onceward_delivery_free(kept);
    onceward_consumer_free(consumer);
    STATUS(ONCEWARD_INVALID, onceward_consumer_stop(consumer));
    onceward_consumer_free(consumer);
    onceward_consumer_free(NULL);

    /* One that is freed without being closed is closed. */
    OK(onceward_subscription_consume(subscription, NULL, &consumer));
    OK(onceward_consumer_receive(consumer, 0, &delivery));
    onceward_consumer_free(consumer);
    CHECK(counts(subscription).in_flight == 0);
    onceward_delivery_free(delivery);
    onceward_subscription_free(subscription);
    onceward_queue_free(queue);
    onceward_store_free(store);
    puts("done");
    return 0;
}
