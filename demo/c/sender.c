/* One sender process of the webhook source, as webhooks/sender.py: sender JOB... */
#include "child.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESENT_AFTER_CRASH 5
#define PAUSE_MS_MAX 2.0
#define WEBHOOKS_MAX 4096

struct webhook {
    char *guid;
    char *event;
    char *body;
    size_t body_size;
};

static struct webhook webhooks[WEBHOOKS_MAX];

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long end = 0;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0) {
        fail(path, "cannot be read");
    }
    rewind(file);
    text = malloc((size_t)end + 1);
    if (text == NULL || fread(text, 1, (size_t)end, file) != (size_t)end) {
        fail(path, "cannot be read");
    }
    fclose(file);
    text[end] = '\0';
    *size = (size_t)end;
    return text;
}

/* Each line is GUID, event and body. */
static size_t read_webhooks(const struct job *job)
{
    char path[PATH_SIZE];
    size_t size = 0;
    size_t count = 0;
    char *at;
    char *end;
    path_in(job, "input", "", path);
    at = read_file(path, &size);
    for (end = at + size; at < end; count++) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *first = strchr(at, ' ');
        char *second = first == NULL ? NULL : strchr(first + 1, ' ');
        if (line_end == NULL || second == NULL || second > line_end || count == WEBHOOKS_MAX) {
            fail(path, "is not as it was written");
        }
        *first = *second = '\0';
        webhooks[count].guid = at;
        webhooks[count].event = first + 1;
        webhooks[count].body = second + 1;
        webhooks[count].body_size = (size_t)(line_end - second - 1);
        at = line_end + 1;
    }
    return count;
}

/* The place in the order from which to go on. */
static size_t resume_at(const struct job *job)
{
    const char *dot = strrchr(job->name, '.');
    size_t reached = 0;
    long earlier;
    for (earlier = 1; earlier < strtol(dot + 1, NULL, 10); earlier++) {
        char name[256];
        snprintf(name, sizeof name, "%.*s.%ld", (int)(dot - job->name), job->name, earlier);
        reached += confirmed_in(job, name);
        reached = reached > RESENT_AFTER_CRASH ? reached - RESENT_AFTER_CRASH : 0;
    }
    return reached;
}

static void send_webhook(struct job *job, onceward_queue *queue, const struct webhook *webhook, int halts)
{
    onceward_header headers[2];
    onceward_message message;
    char key[2 * GUID_SIZE];
    char id_text[32];
    uint64_t id = 0;
    int32_t status;
    snprintf(key, sizeof key, "%s", webhook->guid);
    if (is_sabotage(job, "no-deduplication")) {
        snprintf(key, sizeof key, "%s %.17f", webhook->guid, random_number(job));
    }
    memset(headers, 0, sizeof headers);
    headers[0].name = "x-github-event";
    headers[0].value = webhook->event;
    headers[0].value_size = strlen(webhook->event);
    headers[0].value_type = ONCEWARD_HEADER_TEXT;
    headers[1].name = "x-github-delivery";
    headers[1].value = webhook->guid;
    headers[1].value_size = strlen(webhook->guid);
    headers[1].value_type = ONCEWARD_HEADER_TEXT;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    message.body = webhook->body;
    message.body_size = webhook->body_size;
    message.key = key;
    message.headers = headers;
    message.header_count = 2;
    look_for_the_supervisor();
    pause_ms(random_number(job) * PAUSE_MS_MAX);
    write_journal("sending", webhook->guid, NULL);
    status = onceward_queue_send(queue, &message, &id);
    if (status != ONCEWARD_DUPLICATE) {
        check(status, "send");
    }
    if (halts) {
        halt();
    }
    snprintf(id_text, sizeof id_text, "%" PRIu64, id);
    write_journal("confirmed", webhook->guid, id_text, status == ONCEWARD_DUPLICATE ? "duplicate" : "new", NULL);
    tell("step");
}

int main(int count, char **arguments)
{
    struct job job = read_job(count, arguments);
    size_t webhook_count = read_webhooks(&job);
    onceward_store *store;
    onceward_queue *queue = NULL;
    const char *place = job.order;
    size_t skipped;
    long noted = 0;
    open_journal(&job);
    store = open_store(&job);
    check(onceward_queue_open(store, QUEUE, job.semantics, NULL, &queue), "queue");
    write_journal("opened", "c", onceward_version(), NULL);
    tell("ready");
    skipped = resume_at(&job);
    while (*place != '\0') {
        char *end;
        unsigned long index = strtoul(place, &end, 10);
        if (index >= webhook_count) {
            fail(job.order, "names a webhook that is not there");
        }
        if (skipped > 0) {
            skipped--;
        } else {
            send_webhook(&job, queue, &webhooks[index], noted++ == job.halt_after);
        }
        place = *end == ',' ? end + 1 : end;
    }
    onceward_queue_free(queue);
    check(onceward_store_close(store), "close");
    onceward_store_free(store);
    return 0;
}
