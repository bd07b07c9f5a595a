/* What the sender and the worker in C have in common: the job, the pipes to the supervisor, and the journal. It is
 * webhooks/child.py and webhooks/journal.py for this language; what is written here is explained there. */
#ifndef DEMO_CHILD_H
#define DEMO_CHILD_H

#include <onceward.h>

#include <stddef.h>
#include <stdint.h>

#define QUEUE "webhooks"
#define GUID_SIZE 64
#define PATH_SIZE 4096

/* The job, from the program's arguments. */
struct job {
    const char *name;
    const char *folder;
    int32_t semantics;
    size_t batch;
    const char *sabotage;
    const char *order;
    long halt_after;
    uint64_t random;
};

struct job read_job(int count, char **arguments);
int is_sabotage(const struct job *job, const char *sabotage);
void path_in(const struct job *job, const char *name, const char *ending, char path[PATH_SIZE]);
onceward_store *open_store(const struct job *job);

/* Ends the process with words on its standard error. */
void fail(const char *what, const char *why);
/* Ends the process unless the status is ONCEWARD_OK. */
void check(int32_t status, const char *what);

/* A number from 0 up to 1 that follows from the job alone. */
double random_number(struct job *job);
void pause_ms(double milliseconds);

/* The journal: a line is one write(2), and a kill takes none back. The last argument is NULL. */
void open_journal(const struct job *job);
void write_journal(const char *verb, ...);
/* How many sends a predecessor confirmed in its journal; it may have been killed before it had one. */
size_t confirmed_in(const struct job *job, const char *name);

/* The child's side of the two pipes. */
void tell(const char *word);
/* Ends the process when the supervisor is gone, as everything does that listens for orders. */
void look_for_the_supervisor(void);
/* Waits until the supervisor lets one more message be begun. */
void may_begin(void);
/* Goes on, unless the supervisor ordered a halt at this point: then it says so and waits for the kill. */
void pass_point(const char *point);
/* Says so and waits for the kill. */
void halt(void);

/* The digest in hexadecimal, ended by NUL. */
void sha256(const void *data, size_t size, char digest[65]);

#endif
