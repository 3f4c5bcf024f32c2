/* Counts what code below one folder allocates by way of Python, on all threads.

   A wrapper around Python's allocators counts while a profile function of the same thread says that
   the running frame is of that folder. Needs no Python.h: what is declared here is part of Python's
   API, and unchanged since 3.9 (docs.python.org/3/c-api: memory, profiling, frame). */

#include <stddef.h>
#include <string.h>

typedef struct PyObject PyObject;
typedef struct {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t size);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block);
} Allocator;
typedef int (*Profile)(PyObject *object, PyObject *frame, int what, PyObject *argument);

extern void PyMem_GetAllocator(int domain, Allocator *allocator);
extern void PyMem_SetAllocator(int domain, Allocator *allocator);
extern void PyEval_SetProfile(Profile profile, PyObject *object);
extern PyObject *PyFrame_GetCode(PyObject *frame);
extern PyObject *PyFrame_GetBack(PyObject *frame);
extern PyObject *PyObject_GetAttrString(PyObject *object, const char *name);
extern const char *PyUnicode_AsUTF8(PyObject *text);
extern void Py_DecRef(PyObject *object);

enum { MEM = 1, OBJ = 2, DOMAINS };
enum { CALL = 0, RETURN = 3 };

static Allocator theirs[DOMAINS];
static const char *folder = "";
static long counted;
static int on;
static __thread int running, aside;

static void count(void)
{
    if (running && !aside && __atomic_load_n(&on, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
    }
}

static void *counted_malloc(void *ctx, size_t size)
{
    Allocator *own = ctx;
    count();
    return own->malloc(own->ctx, size);
}

static void *counted_calloc(void *ctx, size_t items, size_t size)
{
    Allocator *own = ctx;
    count();
    return own->calloc(own->ctx, items, size);
}

static void *counted_realloc(void *ctx, void *block, size_t size)
{
    Allocator *own = ctx;
    if (block == NULL) { /* else it is a block that there is already */
        count();
    }
    return own->realloc(own->ctx, block, size);
}

static void counted_free(void *ctx, void *block)
{
    Allocator *own = ctx;
    own->free(own->ctx, block);
}

static int is_below(PyObject *frame)
{
    PyObject *code = PyFrame_GetCode(frame);
    PyObject *name = PyObject_GetAttrString(code, "co_filename");
    int found = strncmp(PyUnicode_AsUTF8(name), folder, strlen(folder)) == 0;
    Py_DecRef(name);
    Py_DecRef(code);
    return found;
}

static int profile(PyObject *object, PyObject *frame, int what, PyObject *argument)
{
    (void)object, (void)argument;
    int before = aside;
    aside = 1;
    if (what == CALL) {
        running = is_below(frame);
    } else if (what == RETURN) {
        PyObject *back = PyFrame_GetBack(frame);
        running = back != NULL && is_below(back);
        if (back != NULL) {
            Py_DecRef(back);
        }
    }
    aside = before;
    return 0;
}

/* Begin to look at the frames of this thread; again, or not, to end that. */
void watch(int whether)
{
    running = 0;
    PyEval_SetProfile(whether ? profile : NULL, NULL);
}

void install(const char *path)
{
    folder = path;
    for (int domain = MEM; domain < DOMAINS; domain++) {
        PyMem_GetAllocator(domain, &theirs[domain]);
        Allocator ours = {
            &theirs[domain], counted_malloc, counted_calloc, counted_realloc, counted_free,
        };
        PyMem_SetAllocator(domain, &ours);
    }
}

void uninstall(void)
{
    for (int domain = MEM; domain < DOMAINS; domain++) {
        PyMem_SetAllocator(domain, &theirs[domain]);
    }
}

/* Count from now on, or no more; return how many it is by now. */
long turn(int to)
{
    __atomic_store_n(&on, to, __ATOMIC_RELAXED);
    return __atomic_load_n(&counted, __ATOMIC_RELAXED);
}

/* What the calling thread does is left out, or not. */
void stand_aside(int whether)
{
    aside = whether;
}
