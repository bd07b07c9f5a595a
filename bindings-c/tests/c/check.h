/* What the test programs share: checks that print what was wrong, and end. */
#ifndef CHECK_H
#define CHECK_H

#include "onceward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__,        \
                    #condition, onceward_error_message());                                     \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define STATUS(expected, call)                                                                 \
    do {                                                                                       \
        int32_t status_ = (call);                                                              \
        if (status_ != (expected)) {                                                           \
            fprintf(stderr, "%s:%d: %s is %s, not %s: %s\n", __FILE__, __LINE__, #call,        \
                    onceward_status_name(status_), onceward_status_name(expected),             \
                    onceward_error_message());                                                 \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define OK(call) STATUS(ONCEWARD_OK, call)

static inline onceward_message message_of(const char *body, const char *key)
{
    onceward_message message;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    message.body = body;
    message.body_size = strlen(body);
    message.key = key;
    return message;
}

static inline uint64_t send_text(const onceward_queue *queue, const char *body, const char *key)
{
    onceward_message message = message_of(body, key);
    uint64_t id = 0;
    OK(onceward_queue_send(queue, &message, &id));
    return id;
}

static inline onceward_delivery *take(const onceward_subscription *subscription)
{
    onceward_delivery *delivery = NULL;
    OK(onceward_subscription_receive(subscription, 5000, &delivery));
    CHECK(delivery != NULL);
    return delivery;
}

static inline onceward_message_view seen(const onceward_delivery *delivery)
{
    onceward_message_view view;
    OK(onceward_delivery_get(delivery, &view, sizeof view));
    return view;
}

static inline int body_is(const onceward_message_view *view, const char *body)
{
    return view->body_size == strlen(body) && memcmp(view->body, body, view->body_size) == 0;
}

static inline onceward_stats counts(const onceward_subscription *subscription)
{
    onceward_stats stats;
    OK(onceward_subscription_get_stats(subscription, &stats, sizeof stats));
    return stats;
}

static inline onceward_once_options once_options(int32_t on_unknown)
{
    onceward_once_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.on_unknown = on_unknown;
    return options;
}

/* A call at a third party that must not be made. */
static inline int32_t unreachable(void *context, onceward_outcome *outcome)
{
    (void)context;
    (void)outcome;
    abort();
}

static inline onceward_value integer_value(int64_t integer)
{
    onceward_value value;
    memset(&value, 0, sizeof value);
    value.value_type = ONCEWARD_INTEGER;
    value.integer = integer;
    return value;
}

static inline onceward_value text_value(const char *text)
{
    onceward_value value;
    memset(&value, 0, sizeof value);
    value.value_type = ONCEWARD_TEXT;
    value.data = text;
    value.size = strlen(text);
    return value;
}

#endif
