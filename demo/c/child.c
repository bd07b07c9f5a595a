#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 1024
#define ORDER_SIZE 256

static int journal = -1;
static char halt_at[ORDER_SIZE];
static size_t to_begin = 0;

void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

void check(int32_t status, const char *what)
{
    if (status != ONCEWARD_OK) {
        fprintf(stderr, "%s: %s: ", what, onceward_status_name(status));
        fail("onceward", onceward_error_message());
    }
}

static int32_t semantics_of(const char *name)
{
    if (strcmp(name, "at-most-once") == 0) {
        return ONCEWARD_AT_MOST_ONCE;
    }
    return strcmp(name, "at-least-once") == 0 ? ONCEWARD_AT_LEAST_ONCE : ONCEWARD_EXACTLY_ONCE;
}

struct job read_job(int count, char **arguments)
{
    struct job job;
    const char *text;
    if (count != 9) {
        fail(arguments[0], "takes NAME FOLDER SEMANTICS SEED BATCH SABOTAGE ORDER HALT_AFTER");
    }
    job.name = arguments[1];
    job.folder = arguments[2];
    job.semantics = semantics_of(arguments[3]);
    job.random = strtoull(arguments[4], NULL, 10);
    for (text = job.name; *text != '\0'; text++) { /* FNV-1a */
        job.random = (job.random ^ (unsigned char)*text) * 1099511628211u;
    }
    job.batch = (size_t)strtoull(arguments[5], NULL, 10);
    job.sabotage = arguments[6];
    job.order = arguments[7];
    job.halt_after = strtol(arguments[8], NULL, 10);
    return job;
}

int is_sabotage(const struct job *job, const char *sabotage)
{
    return strcmp(job->sabotage, sabotage) == 0;
}

void path_in(const struct job *job, const char *name, const char *ending, char path[PATH_SIZE])
{
    if (snprintf(path, PATH_SIZE, "%s/%s%s", job->folder, name, ending) >= PATH_SIZE) {
        fail(job->folder, "is too long a path");
    }
}

onceward_store *open_store(const struct job *job)
{
    onceward_store *store = NULL;
    char path[PATH_SIZE];
    path_in(job, "webhooks", ".db", path);
    check(onceward_store_open(path, NULL, &store), "open");
    return store;
}

double random_number(struct job *job)
{
    uint64_t mixed = job->random += 0x9e3779b97f4a7c15u; /* SplitMix64 */
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return (double)((mixed ^ (mixed >> 31)) >> 11) / 9007199254740992.0;
}

void pause_ms(double milliseconds)
{
    struct timespec time;
    time.tv_sec = (time_t)(milliseconds / 1000);
    time.tv_nsec = (long)((milliseconds - 1000 * (double)time.tv_sec) * 1e6);
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

void open_journal(const struct job *job)
{
    char path[PATH_SIZE];
    path_in(job, job->name, ".journal", path);
    journal = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) {
        fail(path, strerror(errno));
    }
}

void write_journal(const char *verb, ...)
{
    char line[LINE_SIZE];
    size_t size = 0;
    const char *word = verb;
    va_list words;
    va_start(words, verb);
    while (word != NULL) {
        size_t length = strlen(word);
        if (size + length + 1 > sizeof line) {
            fail(verb, "is too long a line for the journal");
        }
        memcpy(line + size, word, length);
        size += length;
        word = va_arg(words, const char *);
        line[size++] = word == NULL ? '\n' : ' ';
    }
    va_end(words);
    if (write(journal, line, size) != (ssize_t)size) {
        fail(verb, "the journal took only a part of the line");
    }
}

size_t confirmed_in(const struct job *job, const char *name)
{
    char path[PATH_SIZE];
    char line[LINE_SIZE];
    size_t confirmed = 0;
    FILE *file;
    path_in(job, name, ".journal", path);
    file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        confirmed += strncmp(line, "confirmed ", 10) == 0 && strchr(line, '\n') != NULL;
    }
    fclose(file);
    return confirmed;
}

void tell(const char *word)
{
    char line[64];
    int size = snprintf(line, sizeof line, "%s\n", word);
    if (write(STDOUT_FILENO, line, (size_t)size) != size) {
        _exit(1);
    }
}

static void obey(const char *order)
{
    if (strcmp(order, "begin") == 0) {
        to_begin++;
    } else {
        snprintf(halt_at, sizeof halt_at, "%s", order);
    }
}

/* Reads orders as they come, a line each; waits for some if told to. */
static void listen_for_orders(int wait)
{
    static char text[ORDER_SIZE];
    static size_t size = 0;
    struct pollfd input;
    input.fd = STDIN_FILENO;
    input.events = POLLIN;
    while (poll(&input, 1, wait ? -1 : 0) > 0) {
        char *end;
        ssize_t got = read(STDIN_FILENO, text + size, sizeof text - 1 - size);
        if (got <= 0) {
            _exit(1);
        }
        size += (size_t)got;
        text[size] = '\0';
        while ((end = strchr(text, '\n')) != NULL) {
            *end = '\0';
            obey(text);
            size -= (size_t)(end + 1 - text);
            memmove(text, end + 1, size + 1);
        }
        wait = 0;
    }
}

void look_for_the_supervisor(void)
{
    listen_for_orders(0);
}

void may_begin(void)
{
    while (to_begin == 0) {
        listen_for_orders(1);
    }
    to_begin--;
}

void pass_point(const char *point)
{
    listen_for_orders(0);
    if (strcmp(halt_at, point) == 0) {
        halt();
    }
}

void halt(void)
{
    tell("halted");
    for (;;) {
        listen_for_orders(1);
    }
}
