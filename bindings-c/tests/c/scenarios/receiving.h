/* Steps that receive, settle, consume and list. */
#ifndef RECEIVING_H
#define RECEIVING_H

#include "queues.h"

struct seen {
    onceward_message_view view;
    onceward_dead_letter_view why;
};

static void show_headers(const onceward_message_view *view)
{
    for (size_t i = 0; i < view->header_count; i++) {
        const onceward_header *header = &view->headers[i];
        say("%s%s:", i > 0 ? ";" : "", header->name);
        if (header->value_type == ONCEWARD_HEADER_TEXT) {
            show(header->value, header->value_size);
        } else {
            say("hex:");
            show_hex(header->value, header->value_size);
        }
    }
    if (view->header_count == 0) say("-");
}

static void show_field(const char *name, const void *of)
{
    const struct seen *seen = (const struct seen *)of;
    if (strcmp(name, "body") == 0) show(seen->view.body, seen->view.body_size);
    else if (strcmp(name, "message") == 0) say("%s", name_of(seen->view.id));
    else if (strcmp(name, "attempt") == 0 || strcmp(name, "attempts") == 0) say("%" PRIu32, seen->view.attempt);
    else if (strcmp(name, "priority") == 0) say("%" PRIu32, seen->view.priority);
    else if (strcmp(name, "key") == 0) show_text(seen->view.key);
    else if (strcmp(name, "ordering_key") == 0) show_text(seen->view.ordering_key);
    else if (strcmp(name, "headers") == 0) show_headers(&seen->view);
    else if (strcmp(name, "reason") == 0) show_text(seen->why.reason);
    else if (strcmp(name, "error") == 0) show_text(seen->why.error);
    else mistake("there is no field ", name);
}

static const char *show_of(struct step *step)
{
    const char *show = option(step, "show");
    return show == NULL ? "body" : show;
}

/* Keeps a delivery under its name, and shows it. */
static void keep_delivery(const char *name, const char *show, onceward_delivery *delivery)
{
    struct seen seen;
    onceward_subscription *subscription = NULL;
    memset(&seen, 0, sizeof seen);
    must(CALL(onceward_delivery_get, delivery, &seen.view, sizeof seen.view));
    check(seen.view.sent_at_ms <= seen.view.lease_expires_at_ms, "it was sent before its lease ends");
    must(CALL(onceward_delivery_subscription, delivery, &subscription));
    onceward_subscription_free(subscription);
    fields(show, show_field, &seen);
    if (name == NULL) {
        onceward_delivery_free(delivery);
        return;
    }
    struct thing *thing = keep(DELIVERY, name, delivery);
    thing->number = seen.view.id;
    thing->token = seen.view.token;
}

static onceward_receive_options receive_options(struct step *step)
{
    onceward_receive_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max = (size_t)number_or(step, "max", 1);
    options.wait_ms = duration_or(step, "wait", 0);
    options.lease_ms = duration_or(step, "lease", 0);
    return options;
}

static void receive(struct step *step)
{
    onceward_subscription *subscription = receiver_of(word(step));
    const char *name = option(step, "as"), *show = show_of(step);
    onceward_receive_options options = receive_options(step);
    onceward_delivery *delivery = NULL;
    onceward_batch *batch = NULL;
    if (options.lease_ms == 0) {
        must(CALL(onceward_subscription_receive, subscription, options.wait_ms, &delivery));
    } else if (must(CALL(onceward_subscription_receive_many, subscription, &options, &batch)) == ONCEWARD_OK) {
        must(CALL(onceward_batch_delivery, batch, 0, &delivery));
        CALL(onceward_batch_free, batch);
    }
    if (delivery == NULL) say("empty");
    else keep_delivery(name, show, delivery);
}

static void receive_many(struct step *step)
{
    onceward_subscription *subscription = receiver_of(word(step));
    const char *begin = option(step, "as"), *show = show_of(step);
    onceward_receive_options options = receive_options(step);
    onceward_batch *batch = NULL;
    size_t count = 0;
    if (must(CALL(onceward_subscription_receive_many, subscription, &options, &batch)) == ONCEWARD_OK)
        count = CALL(onceward_batch_count, batch);
    onceward_receipt *receipts = (onceward_receipt *)calloc(count + 1, sizeof *receipts);
    if (count > 0) must(CALL(onceward_batch_receipts, batch, receipts, count));
    for (size_t i = 0; i < count && strcmp(show, "count") != 0; i++) {
        onceward_message_view view;
        onceward_delivery *delivery = NULL;
        must(CALL(onceward_batch_get, batch, i, &view, sizeof view));
        check(receipts[i].message == view.id && receipts[i].token == view.token, "the receipts are the messages'");
        must(CALL(onceward_batch_delivery, batch, i, &delivery));
        between(i);
        keep_delivery(begin == NULL ? NULL : numbered(begin, i), show, delivery);
    }
    if (strcmp(show, "count") == 0) say("%zu", count);
    else show_none(count);
    onceward_batch_free(batch);
}

static void settle(struct step *step)
{
    const char *verb = step->verb;
    onceward_delivery *delivery = delivery_of(word(step));
    if (strcmp(verb, "ack") == 0) must(CALL(onceward_delivery_ack, delivery));
    else if (strcmp(verb, "release") == 0) must(CALL(onceward_delivery_release, delivery));
    else if (strcmp(verb, "extend") == 0)
        must(CALL(onceward_delivery_extend, delivery, milliseconds(needed(step, "lease"))));
    else if (strcmp(verb, "dead_letter") == 0)
        must(CALL(onceward_delivery_dead_letter, delivery, text_of(needed(step, "reason"))));
    else {
        int64_t delay = duration_or(step, "delay", ONCEWARD_BACKOFF);
        must(CALL(onceward_delivery_nack, delivery, delay, text_option(step, "error")));
    }
}

static void settle_many(struct step *step)
{
    const char *verb = step->verb;
    onceward_subscription *of = receiver_of(word(step));
    struct receipts all = receipts_of(step);
    onceward_receipt *lost = (onceward_receipt *)calloc(all.count + 1, sizeof *lost);
    size_t lost_count = 0;
    if (strcmp(verb, "ack_many") == 0)
        must(CALL(onceward_subscription_ack, of, all.items, all.count, lost, &lost_count));
    else if (strcmp(verb, "release_many") == 0)
        must(CALL(onceward_subscription_release, of, all.items, all.count, lost, &lost_count));
    else if (strcmp(verb, "extend_many") == 0)
        must(CALL(onceward_subscription_extend, of, all.items, all.count, milliseconds(needed(step, "lease")), lost,
                  &lost_count));
    else if (strcmp(verb, "dead_letter_many") == 0)
        must(CALL(onceward_subscription_dead_letter, of, all.items, all.count, text_of(needed(step, "reason")), lost,
                  &lost_count));
    else {
        int64_t delay = duration_or(step, "delay", ONCEWARD_BACKOFF);
        must(CALL(onceward_subscription_nack, of, all.items, all.count, delay, text_option(step, "error"), lost,
                  &lost_count));
    }
    if (lost_count == 0) return;
    say("lost");
    for (size_t i = 0; i < lost_count; i++) {
        size_t at = 0;
        while (at < all.count && (all.items[at].message != lost[i].message || all.items[at].token != lost[i].token)) at++;
        say(" %s", at < all.count ? all.names[at] : "?");
    }
}

static onceward_consumer *consumer_of(struct step *step)
{
    onceward_consume_options options;
    onceward_consumer *consumer = NULL;
    onceward_subscription *subscription = receiver_of(word(step));
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.batch = (size_t)number_or(step, "batch", 0);
    options.lease_ms = duration_or(step, "lease", 0);
    must(CALL(onceward_subscription_consume, subscription, &options, &consumer));
    return consumer;
}

static void consume(struct step *step)
{
    const char *name = needed(step, "as");
    int64_t wait = duration_or(step, "wait", 86400000);
    keep(CONSUMER, name, consumer_of(step))->number = (uint64_t)wait;
}

static void next(struct step *step)
{
    struct thing *thing = named(CONSUMER, word(step));
    const char *name = option(step, "as"), *show = show_of(step);
    onceward_delivery *delivery = NULL;
    must(CALL(onceward_consumer_receive, (onceward_consumer *)thing->handle, (int64_t)thing->number, &delivery));
    if (delivery == NULL) say("end");
    else keep_delivery(name, show, delivery);
}

/* Takes and acknowledges everything, as a worker does. */
static void drain(struct step *step)
{
    int64_t wait = duration_or(step, "wait", 86400000);
    onceward_consumer *consumer = consumer_of(step);
    onceward_delivery *delivery = NULL;
    size_t count = 0;
    while (must(onceward_consumer_receive(consumer, wait, &delivery)) == ONCEWARD_OK) {
        onceward_message_view view;
        must(onceward_delivery_get(delivery, &view, sizeof view));
        between(count++);
        show(view.body, view.body_size);
        must(onceward_delivery_ack(delivery));
        onceward_delivery_free(delivery);
    }
    show_none(count);
    must(onceward_consumer_close(consumer));
    onceward_consumer_free(consumer);
}

static void list_messages(struct step *step)
{
    onceward_messages *messages = NULL;
    onceward_subscription *subscription = receiver_of(word(step));
    const char *show = show_of(step);
    must(CALL(onceward_subscription_peek, subscription, (size_t)number_or(step, "max", 1), &messages));
    size_t count = CALL(onceward_messages_count, messages);
    for (size_t i = 0; i < count; i++) {
        struct seen seen;
        memset(&seen, 0, sizeof seen);
        must(CALL(onceward_messages_get, messages, i, &seen.view, sizeof seen.view));
        between(i);
        fields(show, show_field, &seen);
    }
    show_none(count);
    CALL(onceward_messages_free, messages);
}

static void list_letters(struct step *step)
{
    onceward_dead_letters *letters = NULL;
    onceward_subscription *subscription = receiver_of(word(step));
    const char *show = show_of(step), *after = option(step, "after");
    size_t max = (size_t)number_or(step, "max", 100);
    must(CALL(onceward_subscription_dead_letters, subscription, after == NULL ? 0 : id_of(after), max, &letters));
    size_t count = CALL(onceward_dead_letters_count, letters);
    for (size_t i = 0; i < count; i++) {
        struct seen seen;
        must(CALL(onceward_dead_letters_get, letters, i, &seen.view, sizeof seen.view));
        must(CALL(onceward_dead_letters_why, letters, i, &seen.why, sizeof seen.why));
        check(seen.why.died_at_ms >= seen.view.sent_at_ms, "it died after it was sent");
        between(i);
        fields(show, show_field, &seen);
    }
    show_none(count);
    CALL(onceward_dead_letters_free, letters);
}

static void change_letters(struct step *step)
{
    const char *verb = step->verb;
    onceward_subscription *of = receiver_of(word(step));
    size_t count = 0;
    uint64_t *ids = ids_of(step, &count), done = 0;
    if (strcmp(verb, "redrive") == 0) must(CALL(onceward_subscription_redrive, of, ids, count, &done));
    else if (strcmp(verb, "redrive_all") == 0) must(CALL(onceward_subscription_redrive_all, of, &done));
    else if (strcmp(verb, "purge_dead") == 0) must(CALL(onceward_subscription_purge_dead, of, ids, count, &done));
    else must(CALL(onceward_subscription_purge_dead_all, of, &done));
    say("%" PRIu64, done);
}

static void unfinished(struct step *step)
{
    onceward_subscription *of = receiver_of(word(step));
    size_t count = 0, left = 0;
    uint64_t *ids = ids_of(step, &count);
    must(CALL(onceward_subscription_unfinished, of, ids, count, ids, &left));
    for (size_t i = 0; i < left; i++) {
        between(i);
        say("%s", name_of(ids[i]));
    }
    show_none(left);
}

static void stats(struct step *step)
{
    onceward_stats found;
    must(CALL(onceward_subscription_get_stats, receiver_of(word(step)), &found, sizeof found));
    say("ready=%" PRIu64 " delayed=%" PRIu64 " blocked=%" PRIu64 " in_flight=%" PRIu64, found.ready, found.delayed,
        found.blocked, found.in_flight);
    say(" dead=%" PRIu64 " in_doubt=%" PRIu64 " aged=%s", found.dead, found.in_doubt, found.oldest_age_ms >= 0 ? "yes" : "no");
}

static void make_receipt(struct step *step)
{
    const char *name = word(step), *message = needed(step, "message");
    struct thing *known = find(MESSAGE, message), *receipt = keep(RECEIPT, name, NULL);
    receipt->number = known != NULL ? known->number : (uint64_t)number(message);
    receipt->token = (uint64_t)number_or(step, "token", 1);
}

static int take_receiving(struct step *step)
{
    const char *verb = step->verb;
    if (strcmp(verb, "receive") == 0) receive(step);
    else if (strcmp(verb, "receive_many") == 0) receive_many(step);
    else if (one_of(verb, " ack nack dead_letter release extend ")) settle(step);
    else if (one_of(verb, " ack_many nack_many dead_letter_many release_many extend_many ")) settle_many(step);
    else if (strcmp(verb, "settled") == 0) show_yes(CALL(onceward_delivery_is_settled, delivery_of(word(step))));
    else if (strcmp(verb, "newer") == 0) {
        uint64_t old = named(DELIVERY, word(step))->token;
        show_yes(named(DELIVERY, word(step))->token > old);
    } else if (strcmp(verb, "receipt") == 0) make_receipt(step);
    else if (strcmp(verb, "consume") == 0) consume(step);
    else if (strcmp(verb, "next") == 0) next(step);
    else if (strcmp(verb, "drain") == 0) drain(step);
    else if (strcmp(verb, "flush") == 0)
        must(CALL(onceward_consumer_flush, (onceward_consumer *)named(CONSUMER, word(step))->handle));
    else if (strcmp(verb, "stop_consumer") == 0)
        must(CALL(onceward_consumer_stop, (onceward_consumer *)named(CONSUMER, word(step))->handle));
    else if (strcmp(verb, "end") == 0)
        must(CALL(onceward_consumer_close, (onceward_consumer *)named(CONSUMER, word(step))->handle));
    else if (strcmp(verb, "peek") == 0) list_messages(step);
    else if (strcmp(verb, "dead_letters") == 0) list_letters(step);
    else if (one_of(verb, " redrive redrive_all purge_dead purge_dead_all ")) change_letters(step);
    else if (strcmp(verb, "unfinished") == 0) unfinished(step);
    else if (strcmp(verb, "stats") == 0) stats(step);
    else return 0;
    return 1;
}

#endif
