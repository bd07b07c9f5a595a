/* What the steps of a scenario have made so far, and the steps about files and processes. */
#ifndef WORLD_H
#define WORLD_H

#include "steps.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum kind { STORE, QUEUE, SUBSCRIPTION, DELIVERY, RECEIPT, TRANSACTION, CONSUMER, LEDGER, DOUBT, MESSAGE, CHILD };

/* What was made under a name: a handle, a number (and a token), or a process. */
struct thing {
    struct thing *next;
    enum kind kind;
    char *name;
    void *handle;
    uint64_t number, token;
    pid_t process;
    FILE *to, *from;
};

static struct thing *things;
static char folder[4096];
/* Calls and probes since they were last asked for, and the keys that were seen. */
static int calls, probes;
static char keys[64][ONCEWARD_IDEMPOTENCY_KEY_SIZE];
static size_t key_count;

static struct thing *find(enum kind kind, const char *name)
{
    for (struct thing *thing = things; thing != NULL; thing = thing->next) {
        if (thing->kind == kind && strcmp(thing->name, name) == 0) return thing;
    }
    return NULL;
}

static struct thing *named(enum kind kind, const char *name)
{
    struct thing *thing = find(kind, name);
    if (thing == NULL) mistake("nothing is named ", name);
    return thing;
}

static void release(struct thing *thing)
{
    switch (thing->kind) {
    case STORE:
        onceward_store_close((onceward_store *)thing->handle);
        CALL(onceward_store_free, (onceward_store *)thing->handle);
        break;
    case QUEUE: CALL(onceward_queue_free, (onceward_queue *)thing->handle); break;
    case SUBSCRIPTION: CALL(onceward_subscription_free, (onceward_subscription *)thing->handle); break;
    case DELIVERY: CALL(onceward_delivery_free, (onceward_delivery *)thing->handle); break;
    case TRANSACTION: CALL(onceward_transaction_free, (onceward_transaction *)thing->handle); break;
    case CONSUMER: CALL(onceward_consumer_free, (onceward_consumer *)thing->handle); break;
    case LEDGER: CALL(onceward_ledger_free, (onceward_ledger *)thing->handle); break;
    case CHILD:
        kill(thing->process, SIGKILL);
        waitpid(thing->process, NULL, 0);
        fclose(thing->to);
        fclose(thing->from);
        break;
    default: break;
    }
}

/* What was there under the name is freed. */
static struct thing *keep(enum kind kind, const char *name, void *handle)
{
    struct thing *thing = find(kind, name);
    if (thing != NULL) {
        release(thing);
    } else {
        thing = (struct thing *)calloc(1, sizeof *thing);
        thing->kind = kind;
        thing->name = copied(name, strlen(name));
        thing->next = things;
        things = thing;
    }
    thing->handle = handle;
    return thing;
}

static void forget(struct thing *gone)
{
    release(gone);
    for (struct thing **at = &things; *at != NULL; at = &(*at)->next) {
        if (*at == gone) {
            *at = gone->next;
            return;
        }
    }
}

/* Transactions end before their stores, and processes before all. */
static void forget_all(void)
{
    for (int kind = CHILD; kind >= 0; kind--) {
        for (struct thing *thing = things, *next; thing != NULL; thing = next) {
            next = thing->next;
            if ((int)thing->kind == kind) forget(thing);
        }
    }
    calls = probes = 0;
    key_count = 0;
}

/* The first name that a message was given: the one that is last in the list. */
static const char *name_of(uint64_t message)
{
    const char *name = "?";
    for (struct thing *thing = things; thing != NULL; thing = thing->next) {
        if (thing->kind == MESSAGE && thing->number == message) name = thing->name;
    }
    return name;
}

static uint64_t id_of(const char *name)
{
    return named(MESSAGE, name)->number;
}

static char *numbered(const char *begin, size_t index)
{
    char name[256];
    snprintf(name, sizeof name, "%s%zu", begin, index + 1);
    return copied(name, strlen(name));
}

static char *path_of(const char *name)
{
    char path[8192];
    if (name[0] == '/' || name[0] == ':') return copied(name, strlen(name));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return copied(path, strlen(path));
}

static onceward_store *store_of(struct step *step)
{
    const char *name = option(step, "in");
    return (onceward_store *)named(STORE, name == NULL ? "store" : name)->handle;
}

static onceward_queue *queue_of(const char *name)
{
    return (onceward_queue *)named(QUEUE, name)->handle;
}

/* A subscription, or the default one of a queue. */
static onceward_subscription *receiver_of(const char *name)
{
    if (strchr(name, '/') != NULL) return (onceward_subscription *)named(SUBSCRIPTION, name)->handle;
    onceward_subscription *subscription = NULL;
    must(CALL(onceward_subscription_open, queue_of(name), NULL, &subscription));
    return (onceward_subscription *)keep(SUBSCRIPTION, name, subscription)->handle;
}

static onceward_delivery *delivery_of(const char *name)
{
    return (onceward_delivery *)named(DELIVERY, name)->handle;
}

static onceward_transaction *transaction_of(const char *name)
{
    return (onceward_transaction *)named(TRANSACTION, name)->handle;
}

/* The receipts of the words that are left, as often as `times` says; and which word each belongs to. */
struct receipts {
    onceward_receipt *items;
    const char **names;
    size_t count;
};

static struct receipts receipts_of(struct step *step)
{
    size_t times = (size_t)number_or(step, "times", 1), words = step->word_count - step->word_next;
    struct receipts found = {NULL, NULL, times * words};
    found.items = (onceward_receipt *)calloc(found.count + 1, sizeof *found.items);
    found.names = (const char **)calloc(found.count + 1, sizeof *found.names);
    for (size_t i = 0; i < found.count; i++) {
        const char *name = step->words[step->word_next + i % words];
        struct thing *thing = find(DELIVERY, name);
        thing = thing == NULL ? named(RECEIPT, name) : thing;
        found.items[i].message = thing->number;
        found.items[i].token = thing->token;
        found.names[i] = name;
    }
    step->word_next = step->word_count;
    return found;
}

static uint64_t *ids_of(struct step *step, size_t *count)
{
    size_t times = (size_t)number_or(step, "times", 1), words = step->word_count - step->word_next;
    *count = times * words;
    uint64_t *ids = (uint64_t *)calloc(*count + 1, sizeof *ids);
    for (size_t i = 0; i < *count; i++) ids[i] = id_of(step->words[step->word_next + i % words]);
    step->word_next = step->word_count;
    return ids;
}

static void start_child(const char *name)
{
    int to[2], from[2];
    check(pipe(to) == 0 && pipe(from) == 0, "there are pipes");
    pid_t process = fork();
    if (process == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        for (int file = 3; file < 256; file++) close(file);
        execl("/proc/self/exe", "scenarios", "--steps", folder, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    fcntl(to[1], F_SETFD, FD_CLOEXEC);
    fcntl(from[0], F_SETFD, FD_CLOEXEC);
    struct thing *child = keep(CHILD, name, NULL);
    child->process = process;
    child->to = fdopen(to[1], "w");
    child->from = fdopen(from[0], "r");
}

static void tell(struct thing *child, const char *step)
{
    fprintf(child->to, "%s\n", step);
    fflush(child->to);
}

static void hear(struct thing *child)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size = getline(&line, &room, child->from);
    if (size <= 0) mistake("the process has ended: ", child->name);
    add_bytes(line, (size_t)size - 1);
    free(line);
}

static void pause_for(int64_t ms)
{
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0) {
    }
}

/* Changes a file that no SQLite of this process has open. */
static void change_file(struct step *step)
{
    char *path = path_of(word(step));
    if (strcmp(step->verb, "remove") == 0) {
        check(unlink(path) == 0, "the file is there");
    } else if (strcmp(step->verb, "move") == 0) {
        check(rename(path, path_of(word(step))) == 0, "the file is there");
    } else if (strcmp(step->verb, "mkdir") == 0) {
        check(mkdir(path, 0700) == 0, "the folder is made");
    } else {
        FILE *file = fopen(path, strcmp(step->verb, "write") == 0 ? "wb" : "r+b");
        struct bytes content = bytes_of(word(step));
        check(file != NULL, "the file opens");
        fseek(file, (long)number_or(step, "at", 0), SEEK_SET);
        check(fwrite(content.data, 1, content.size, file) == content.size && fclose(file) == 0, "the file is written");
    }
}

/* Returns whether the verb is one of these. */
static int take_outside(struct step *step)
{
    const char *verb = step->verb;
    if (strcmp(verb, "process") == 0) start_child(word(step));
    else if (strcmp(verb, "hear") == 0) hear(named(CHILD, word(step)));
    else if (strcmp(verb, "kill") == 0) forget(named(CHILD, word(step)));
    else if (strcmp(verb, "stop") == 0) kill(named(CHILD, word(step))->process, SIGSTOP);
    else if (strcmp(verb, "continue") == 0) kill(named(CHILD, word(step))->process, SIGCONT);
    else if (strcmp(verb, "wait") == 0) pause_for(milliseconds(word(step)));
    else if (one_of(verb, " write patch remove move mkdir ")) change_file(step);
    else return 0;
    return 1;
}

#endif
