/* Sends orders: sender FILE ORDER CENTS ...
 *
 * The order is the deduplication key, so a sender that does not know whether its last send arrived runs again and nothing is sent
 * twice. */
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

int main(int count, char **arguments)
{
    if (count < 4 || count % 2 != 0) {
        fprintf(stderr, "usage: %s FILE ORDER CENTS [ORDER CENTS ...]\n", arguments[0]);
        return 2;
    }
    onceward_store *store = NULL;
    onceward_queue *payments = NULL;
    check(onceward_store_open(arguments[1], NULL, &store), "open");
    check(onceward_queue_open(store, "payments", ONCEWARD_EXACTLY_ONCE, NULL, &payments), "queue");
    for (int i = 2; i < count; i += 2) {
        onceward_message message;
        uint64_t id = 0;
        int32_t status;
        memset(&message, 0, sizeof message);
        message.size = sizeof message;
        message.body = arguments[i + 1];
        message.body_size = strlen(arguments[i + 1]);
        message.key = arguments[i];
        status = onceward_queue_send(payments, &message, &id);
        if (status != ONCEWARD_DUPLICATE) {
            check(status, "send");
        }
        printf("order %s: message %llu%s\n", arguments[i], (unsigned long long)id,
               status == ONCEWARD_DUPLICATE ? ", sent before" : "");
    }
    onceward_queue_free(payments);
    check(onceward_store_close(store), "close");
    onceward_store_free(store);
    return 0;
}
