/* Ended spans' facts -> their frames: jaeger.thrift in both protocols, and OTLP.
 *
 * An accelerator that may be absent. The Python encoders beside this file are the reference: what
 * stands here writes the same bytes for what most spans are made of, and *declines* (returns None)
 * whatever is rare, so that the Python encoder takes that span. It knows no class of ours or of
 * OpenTelemetry: facts come as the plain tuple of tracekit._protocols.Facts. It keeps nothing
 * between two calls but two constants, and uses the limited API, so that one binary serves
 * every CPython from 3.10 on.
 *
 * Sources: thrift-compact-protocol.md, thrift-binary-protocol.md (Apache Thrift), jaeger.thrift
 * (jaeger-idl), trace.proto and common.proto (opentelemetry-proto), protobuf's encoding page.
 *
 * Errors. A function returns NULL with an exception set only when memory runs out or when it is
 * called in another way than its documentation says (TypeError, OverflowError); every fact that
 * merely does not fit (a number beyond 64 bits, a lone surrogate, another type) is declined. */

#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* The places of tracekit._protocols.Facts; a test compares them with its fields. */
enum {
    TRACE_ID, SPAN_ID, PARENT_ID, BITS, STATE, NAME, KIND, START_NS, END_NS, ATTRIBUTES, EVENTS,
    LINKS, STATUS, SCOPE, DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS, PARENT_IS_REMOTE,
    FACTS
};

/* Of what is called here and how; tracekit.encoding._native asks for it. */
#define VERSION 3

typedef enum { DONE = 0, DECLINED = 1, FAILED = 2 } Result; /* FAILED: an exception is set */

/* ---- a buffer that grows ---- */

/* Most frames fit into the stack; the heap is for long ones. */
#define ON_STACK 4096

typedef struct {
    unsigned char *data;
    size_t length, room;
    unsigned char first[ON_STACK];
} Buffer;

static void begin(Buffer *out) {
    out->data = out->first;
    out->length = 0;
    out->room = ON_STACK;
}

static void release(Buffer *out) {
    if (out->data != out->first)
        PyMem_Free(out->data);
}

/* Make room for `more` bytes. */
static Result reserve(Buffer *out, size_t more) {
    size_t room = out->room;
    unsigned char *data;
    if (more <= room - out->length)
        return DONE;
    if (more > (size_t)PY_SSIZE_T_MAX / 2 - out->length)
        return DECLINED;
    while (room - out->length < more)
        room *= 2;
    data = PyMem_Malloc(room);
    if (data == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    memcpy(data, out->data, out->length);
    release(out);
    out->data = data;
    out->room = room;
    return DONE;
}

/* The following write into room that was reserved. Bytes may alias the buffer's own fields, so the
 * place is in a variable: otherwise each byte would load and store it. */
static inline void put(Buffer *out, unsigned char byte) { out->data[out->length++] = byte; }

static inline void put_all(Buffer *out, const char *data, size_t length) {
    memcpy(out->data + out->length, data, length);
    out->length += length;
}

static inline void put_varint(Buffer *out, uint64_t n) {
    unsigned char *begin = out->data + out->length, *at = begin;
    while (n >= 0x80) {
        *at++ = (unsigned char)(n | 0x80);
        n >>= 7;
    }
    *at++ = (unsigned char)n;
    out->length += (size_t)(at - begin);
}

static inline void put_big(Buffer *out, uint64_t n, int bytes) {
    unsigned char *at = out->data + out->length;
    out->length += (size_t)bytes;
    while (bytes--)
        *at++ = (unsigned char)(n >> (8 * bytes));
}

static inline void put_little(Buffer *out, uint64_t n, int bytes) {
    unsigned char *at = out->data + out->length;
    out->length += (size_t)bytes;
    for (; bytes--; n >>= 8)
        *at++ = (unsigned char)n;
}

static inline size_t varint_size(uint64_t n) {
    size_t size = 1;
    while (n >>= 7)
        size++;
    return size;
}

#define MAX_VARINT 10

/* ---- what Python holds, as C has it; anything unexpected is declined ---- */

#define TRY(step)                          \
    do {                                   \
        Result tried = (step);             \
        if (tried != DONE)                 \
            return tried;                  \
    } while (0)

static Result declined(void) {
    PyErr_Clear();
    return DECLINED;
}

typedef struct {
    const char *data;
    size_t length;
} Text;

/* The text as UTF-8. Declined: a class of its own, a lone surrogate. */
static inline Result text_of(PyObject *value, Text *text) {
    Py_ssize_t length;
    if (!Py_IS_TYPE(value, &PyUnicode_Type))
        return DECLINED;
    text->data = PyUnicode_AsUTF8AndSize(value, &length);
    if (text->data == NULL) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return FAILED;
        return declined();
    }
    text->length = (size_t)length;
    return DONE;
}

static inline Result unsigned_of(PyObject *value, uint64_t *number) {
    if (!Py_IS_TYPE(value, &PyLong_Type))
        return DECLINED;
    *number = PyLong_AsUnsignedLongLong(value);
    if (*number == (uint64_t)-1 && PyErr_Occurred())
        return declined();
    return DONE;
}

/* A trace id of up to 128 bits. By mask and shift: to ask for 64 bits of a wider one would make an
 * exception for nearly every span. */
static Result wide_of(PyObject *value, uint64_t *high, uint64_t *low) {
    PyObject *by, *rest;
    Result result;
    if (!Py_IS_TYPE(value, &PyLong_Type))
        return DECLINED;
    *low = PyLong_AsUnsignedLongLongMask(value);
    by = PyLong_FromLong(64);
    if (by == NULL)
        return FAILED;
    rest = PyNumber_Rshift(value, by);
    Py_DECREF(by);
    if (rest == NULL)
        return FAILED;
    result = unsigned_of(rest, high); /* declined: negative, or beyond 128 bits */
    Py_DECREF(rest);
    return result;
}

/* What many spans of one call have in common, found for the one before: a trace id in halves, and
 * what is known of a kind and a scope. All zero at first; what was found is kept by `forget`. */
typedef struct {
    PyObject *trace_id, *kind, *scope, *bytes; /* owned */
    uint64_t high, low, number;
} Latest;

static void forget(Latest *latest) {
    Py_XDECREF(latest->trace_id);
    Py_XDECREF(latest->kind);
    Py_XDECREF(latest->scope);
    Py_XDECREF(latest->bytes);
}

static inline void keep(PyObject **place, PyObject *object) {
    PyObject *before = *place;
    *place = Py_NewRef(object);
    Py_XDECREF(before);
}

static inline Result trace_of(PyObject *facts, Latest *latest) {
    PyObject *id = PyTuple_GetItem(facts, TRACE_ID);
    if (id == latest->trace_id)
        return DONE;
    TRY(wide_of(id, &latest->high, &latest->low));
    keep(&latest->trace_id, id);
    return DONE;
}

/* One attribute's value. Not finite numbers, integers beyond 64 bits and all else is declined. */
typedef struct {
    enum { TEXT, NUMBER, FLAG, REAL } type;
    Text text;
    int64_t number; /* FLAG: 0 or 1 */
    double real;
} Value;

static inline Result value_of(PyObject *object, Value *value) {
    if (Py_IS_TYPE(object, &PyUnicode_Type)) {
        value->type = TEXT;
        return text_of(object, &value->text);
    }
    if (Py_IS_TYPE(object, &PyLong_Type)) {
        value->type = NUMBER;
        value->number = PyLong_AsLongLong(object);
        return value->number == -1 && PyErr_Occurred() ? declined() : DONE;
    }
    if (Py_IS_TYPE(object, &PyBool_Type)) {
        value->type = FLAG;
        value->number = object == Py_True;
        return DONE;
    }
    if (Py_IS_TYPE(object, &PyFloat_Type)) {
        value->type = REAL;
        value->real = PyFloat_AsDouble(object);
        return isfinite(value->real) ? DONE : DECLINED;
    }
    return DECLINED;
}

static inline uint64_t bits_of(double real) {
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

/* An event as the span keeps it: (name, time in ns, (attributes, how many were dropped)). */
typedef struct {
    PyObject *name, *attributes;
    uint64_t time_ns;
} Event;

static Result event_of(PyObject *events, Py_ssize_t at, Event *event) {
    PyObject *whole = PyTuple_GetItem(events, at), *bag;
    long dropped;
    if (whole == NULL || !PyTuple_Check(whole) || PyTuple_Size(whole) != 3)
        return declined();
    event->name = PyTuple_GetItem(whole, 0);
    bag = PyTuple_GetItem(whole, 2);
    if (bag == NULL || !PyTuple_Check(bag) || PyTuple_Size(bag) != 2)
        return declined();
    event->attributes = PyTuple_GetItem(bag, 0);
    dropped = PyLong_AsLong(PyTuple_GetItem(bag, 1));
    if (dropped != 0 || !Py_IS_TYPE(event->attributes, &PyDict_Type))
        return declined(); /* also an error of the look: -1 */
    return unsigned_of(PyTuple_GetItem(whole, 1), &event->time_ns);
}

/* ---- jaeger.thrift ---- */

/* Compact: a field's header is its distance to the one before and its type, a number is zigzag
 * and varint. Binary: type and id, big-endian numbers. `delta` is the distance. */
enum { C_TRUE = 1, C_FALSE = 2, C_I32 = 5, C_I64 = 6, C_DOUBLE = 7, C_STRING = 8, C_LIST = 9, C_STRUCT = 12 };
enum { B_BOOL = 2, B_DOUBLE = 4, B_I32 = 8, B_I64 = 10, B_STRING = 11, B_STRUCT = 12, B_LIST = 15 };
enum { TAG_STRING = 0, TAG_DOUBLE = 1, TAG_BOOL = 2, TAG_LONG = 3 };

/* The room of one field: header, and a number, a length or a list's head. */
#define FIELD 16

static inline void head(Buffer *out, int compact, int delta, int id, int c_type, int b_type) {
    if (compact) {
        put(out, (unsigned char)(delta << 4 | c_type));
    } else {
        put(out, (unsigned char)b_type);
        put_big(out, (uint64_t)id, 2);
    }
}

static inline void put_zigzag(Buffer *out, uint64_t n) {
    put_varint(out, n << 1 ^ (n >> 63 ? UINT64_MAX : 0));
}

static inline void put_i64(Buffer *out, int compact, int delta, int id, uint64_t n) {
    head(out, compact, delta, id, C_I64, B_I64);
    if (compact)
        put_zigzag(out, n);
    else
        put_big(out, n, 8);
}

static inline void put_i32(Buffer *out, int compact, int delta, int id, uint32_t n) {
    head(out, compact, delta, id, C_I32, B_I32);
    if (compact)
        put_zigzag(out, n);
    else
        put_big(out, n, 4);
}

static inline Result put_string(Buffer *out, int compact, int delta, int id, Text text) {
    if (text.length > INT32_MAX)
        return DECLINED;
    TRY(reserve(out, FIELD + text.length));
    head(out, compact, delta, id, C_STRING, B_STRING);
    if (compact)
        put_varint(out, text.length);
    else
        put_big(out, text.length, 4);
    put_all(out, text.data, text.length);
    return DONE;
}

static inline void put_list(Buffer *out, int compact, int delta, int id, size_t count) {
    head(out, compact, delta, id, C_LIST, B_LIST);
    if (!compact) {
        put(out, B_STRUCT);
        put_big(out, count, 4);
    } else if (count < 15) {
        put(out, (unsigned char)(count << 4 | C_STRUCT));
    } else {
        put(out, 0xF0 | C_STRUCT);
        put_varint(out, count);
    }
}

static Result put_tag(Buffer *out, int compact, Text key, const Value *value) {
    TRY(put_string(out, compact, 1, 1, key));
    TRY(reserve(out, 2 * FIELD));
    switch (value->type) {
    case TEXT:
        put_i32(out, compact, 1, 2, TAG_STRING);
        TRY(put_string(out, compact, 1, 3, value->text));
        TRY(reserve(out, 1));
        break;
    case REAL:
        put_i32(out, compact, 1, 2, TAG_DOUBLE);
        head(out, compact, 2, 4, C_DOUBLE, B_DOUBLE);
        if (compact)
            put_little(out, bits_of(value->real), 8);
        else
            put_big(out, bits_of(value->real), 8);
        break;
    case FLAG:
        put_i32(out, compact, 1, 2, TAG_BOOL);
        head(out, compact, 3, 5, value->number ? C_TRUE : C_FALSE, B_BOOL);
        if (!compact)
            put(out, (unsigned char)value->number);
        break;
    case NUMBER:
        put_i32(out, compact, 1, 2, TAG_LONG);
        put_i64(out, compact, 4, 6, (uint64_t)value->number);
        break;
    }
    put(out, 0); /* the end of the struct */
    return DONE;
}

static Result put_tags(Buffer *out, int compact, PyObject *attributes) {
    PyObject *name, *held;
    Py_ssize_t at = 0;
    Text key;
    Value value;
    while (PyDict_Next(attributes, &at, &name, &held)) {
        TRY(text_of(name, &key));
        TRY(value_of(held, &value));
        TRY(put_tag(out, compact, key, &value));
    }
    return DONE;
}

static Result put_log(Buffer *out, int compact, const Event *event, PyObject *word) {
    Value name = {TEXT, {NULL, 0}, 0, 0};
    const Text key = {"event", 5};
    Py_ssize_t fields;
    int named = PyDict_Contains(event->attributes, word);
    if (named < 0)
        return declined();
    fields = PyDict_Size(event->attributes); /* behind it: a key of a class of its own runs code */
    TRY(text_of(event->name, &name.text)); /* declined: an UnnamedEvent, which is no plain str */
    TRY(reserve(out, 2 * FIELD));
    put_i64(out, compact, 1, 1, event->time_ns / 1000);
    put_list(out, compact, 1, 2, (size_t)fields + !named);
    if (!named)
        TRY(put_tag(out, compact, key, &name));
    TRY(put_tags(out, compact, event->attributes));
    TRY(reserve(out, 1));
    put(out, 0);
    return DONE;
}

/* Jaeger's flags are the sampled bit, DEBUG and FIREHOSE; these two are marks of tracekit._context,
 * which stand above the trace flags. */
static inline uint32_t flags_of(uint64_t bits) {
    return (uint32_t)((bits & 1) | (bits >> 8 & (0x02 | 0x08)));
}

/* `ready`: `ready_count` encoded tags that stand behind the attributes'. */
static Result put_jaeger(Buffer *out, int compact, PyObject *facts, Latest *latest,
                         uint64_t ready_count, Text ready, PyObject *word) {
    uint64_t span_id, parent_id, start_ns, end_ns, bits, tags;
    PyObject *attributes = PyTuple_GetItem(facts, ATTRIBUTES);
    PyObject *events = PyTuple_GetItem(facts, EVENTS);
    Py_ssize_t logs, at;
    Text name;
    Event event;
    if (!Py_IS_TYPE(attributes, &PyDict_Type) || !PyTuple_Check(events))
        return DECLINED;
    TRY(trace_of(facts, latest));
    TRY(unsigned_of(PyTuple_GetItem(facts, SPAN_ID), &span_id));
    TRY(unsigned_of(PyTuple_GetItem(facts, PARENT_ID), &parent_id));
    TRY(unsigned_of(PyTuple_GetItem(facts, BITS), &bits));
    TRY(unsigned_of(PyTuple_GetItem(facts, START_NS), &start_ns));
    TRY(unsigned_of(PyTuple_GetItem(facts, END_NS), &end_ns));
    TRY(text_of(PyTuple_GetItem(facts, NAME), &name));
    tags = (uint64_t)PyDict_Size(attributes) + ready_count;
    logs = PyTuple_Size(events);
    if (ready_count > INT32_MAX || tags > INT32_MAX || logs > INT32_MAX)
        return DECLINED;
    TRY(reserve(out, 5 * FIELD));
    put_i64(out, compact, 1, 1, latest->low);
    put_i64(out, compact, 1, 2, latest->high);
    put_i64(out, compact, 1, 3, span_id);
    put_i64(out, compact, 1, 4, parent_id);
    TRY(put_string(out, compact, 1, 5, name));
    TRY(reserve(out, 4 * FIELD));
    put_i32(out, compact, 2, 7, flags_of(bits)); /* references, 6, are left out */
    put_i64(out, compact, 1, 8, start_ns / 1000);
    put_i64(out, compact, 1, 9, end_ns > start_ns ? (end_ns - start_ns) / 1000 : 0);
    if (tags)
        put_list(out, compact, 1, 10, (size_t)tags);
    TRY(put_tags(out, compact, attributes));
    TRY(reserve(out, ready.length + 2 * FIELD));
    put_all(out, ready.data, ready.length);
    if (logs)
        put_list(out, compact, tags ? 1 : 2, 11, (size_t)logs);
    for (at = 0; at < logs; at++) {
        TRY(event_of(events, at, &event));
        TRY(put_log(out, compact, &event, word));
    }
    TRY(reserve(out, 1));
    put(out, 0);
    return DONE;
}

/* ---- OTLP ---- */

/* Every key below is one byte: number << 3 | wire type (0 varint, 1 fixed64, 2 length). */
enum { SCOPE_SPANS_SPANS = 0x12, KV_KEY = 0x0A, KV_VALUE = 0x12 };
enum { ANY_STRING = 0x0A, ANY_BOOL = 0x10, ANY_INT = 0x18, ANY_DOUBLE = 0x21 };
enum { SPAN_TRACE_ID = 0x0A, SPAN_SPAN_ID = 0x12, SPAN_PARENT = 0x22, SPAN_NAME = 0x2A,
       SPAN_KIND = 0x30, SPAN_START = 0x39, SPAN_END = 0x41, SPAN_ATTRIBUTES = 0x4A,
       SPAN_DROPPED = 0x50, SPAN_EVENTS = 0x5A };
enum { EVENT_TIME = 0x09, EVENT_NAME = 0x12, EVENT_ATTRIBUTES = 0x1A };

static Result put_key_value(Buffer *out, unsigned char field, Text key, const Value *value) {
    size_t any = 0, pair;
    switch (value->type) {
    case TEXT:
        any = 1 + varint_size(value->text.length) + value->text.length;
        break;
    case NUMBER:
        any = 1 + varint_size((uint64_t)value->number);
        break;
    case FLAG:
        any = 2;
        break;
    case REAL:
        any = 9;
        break;
    }
    pair = 1 + varint_size(key.length) + key.length + 1 + varint_size(any) + any;
    TRY(reserve(out, 1 + MAX_VARINT + pair));
    put(out, field);
    put_varint(out, pair);
    put(out, KV_KEY);
    put_varint(out, key.length);
    put_all(out, key.data, key.length);
    put(out, KV_VALUE);
    put_varint(out, any);
    switch (value->type) {
    case TEXT:
        put(out, ANY_STRING);
        put_varint(out, value->text.length);
        put_all(out, value->text.data, value->text.length);
        break;
    case NUMBER:
        put(out, ANY_INT);
        put_varint(out, (uint64_t)value->number);
        break;
    case FLAG:
        put(out, ANY_BOOL);
        put(out, (unsigned char)value->number);
        break;
    case REAL:
        put(out, ANY_DOUBLE);
        put_little(out, bits_of(value->real), 8);
        break;
    }
    return DONE;
}

static Result put_attributes(Buffer *out, unsigned char field, PyObject *attributes) {
    PyObject *name, *held;
    Py_ssize_t at = 0;
    Text key;
    Value value;
    while (PyDict_Next(attributes, &at, &name, &held)) {
        TRY(text_of(name, &key));
        TRY(value_of(held, &value));
        TRY(put_key_value(out, field, key, &value));
    }
    return DONE;
}

/* A text field; nothing if it is empty. */
static Result put_text(Buffer *out, unsigned char field, Text text) {
    if (text.length == 0)
        return DONE;
    TRY(reserve(out, 1 + MAX_VARINT + text.length));
    put(out, field);
    put_varint(out, text.length);
    put_all(out, text.data, text.length);
    return DONE;
}

/* A message's length stands before it and is known behind it: write `field` and a gap first,
 * then close the gap. Returns where the body begins. */
static Result open_message(Buffer *out, unsigned char field, size_t *body) {
    TRY(reserve(out, 1 + MAX_VARINT));
    put(out, field);
    out->length += MAX_VARINT;
    *body = out->length;
    return DONE;
}

static void close_message(Buffer *out, size_t body) {
    size_t length = out->length - body, gap = body - MAX_VARINT;
    out->length = gap;
    put_varint(out, length);
    memmove(out->data + out->length, out->data + body, length);
    out->length += length;
}

/* Span.flags: 16, a fixed32, so a key of two bytes. Bit 8 says that bit 9 tells of a remote parent. */
static inline void put_flags(Buffer *out, int remote) {
    put(out, 0x85);
    put(out, 0x01);
    put_little(out, remote ? 0x300 : 0x100, 4);
}

/* `status`: the encoded field. */
static Result put_otlp(Buffer *out, PyObject *facts, Latest *latest, uint64_t kind,
                       Text status) {
    uint64_t span_id, parent_id, start_ns, end_ns, dropped;
    PyObject *attributes = PyTuple_GetItem(facts, ATTRIBUTES);
    PyObject *events = PyTuple_GetItem(facts, EVENTS);
    PyObject *remote = PyTuple_GetItem(facts, PARENT_IS_REMOTE);
    Py_ssize_t count, at;
    size_t span, body;
    Text name;
    Event event;
    if (!Py_IS_TYPE(attributes, &PyDict_Type) || !PyTuple_Check(events))
        return DECLINED;
    TRY(trace_of(facts, latest));
    TRY(unsigned_of(PyTuple_GetItem(facts, SPAN_ID), &span_id));
    TRY(unsigned_of(PyTuple_GetItem(facts, PARENT_ID), &parent_id));
    TRY(unsigned_of(PyTuple_GetItem(facts, START_NS), &start_ns));
    TRY(unsigned_of(PyTuple_GetItem(facts, END_NS), &end_ns));
    TRY(unsigned_of(PyTuple_GetItem(facts, DROPPED_ATTRIBUTES), &dropped));
    TRY(text_of(PyTuple_GetItem(facts, NAME), &name));
    if (end_ns < start_ns || !Py_IS_TYPE(remote, &PyBool_Type))
        return DECLINED;
    TRY(open_message(out, SCOPE_SPANS_SPANS, &span));
    TRY(reserve(out, 48));
    put(out, SPAN_TRACE_ID);
    put(out, 16);
    put_big(out, latest->high, 8);
    put_big(out, latest->low, 8);
    put(out, SPAN_SPAN_ID);
    put(out, 8);
    put_big(out, span_id, 8);
    if (parent_id) {
        put(out, SPAN_PARENT);
        put(out, 8);
        put_big(out, parent_id, 8);
    }
    TRY(put_text(out, SPAN_NAME, name));
    TRY(reserve(out, 48));
    put(out, SPAN_KIND);
    put_varint(out, kind);
    put(out, SPAN_START);
    put_little(out, start_ns, 8);
    put(out, SPAN_END);
    put_little(out, end_ns, 8);
    TRY(put_attributes(out, SPAN_ATTRIBUTES, attributes));
    if (dropped) {
        TRY(reserve(out, 1 + MAX_VARINT));
        put(out, SPAN_DROPPED);
        put_varint(out, dropped);
    }
    for (at = 0, count = PyTuple_Size(events); at < count; at++) {
        TRY(event_of(events, at, &event));
        TRY(text_of(event.name, &name));
        TRY(open_message(out, SPAN_EVENTS, &body));
        TRY(reserve(out, 9));
        put(out, EVENT_TIME);
        put_little(out, event.time_ns, 8);
        TRY(put_text(out, EVENT_NAME, name));
        TRY(put_attributes(out, EVENT_ATTRIBUTES, event.attributes));
        close_message(out, body);
    }
    TRY(reserve(out, status.length + FIELD));
    put_all(out, status.data, status.length);
    put_flags(out, remote == Py_True);
    close_message(out, span);
    return DONE;
}

/* ---- the module ---- */

typedef struct {
    PyObject *event;     /* the word "event" */
    PyObject *no_scope;  /* b"": a format without scopes */
    newfunc tuple_new;   /* makes a named tuple without its constructor in Python */
} State;

/* What an encoder works with: (trace state, status, frame class, known). A span is plain if it has
 * exactly this state and this status, no links, and nothing was dropped. `known` is a short list of
 * (kind, scope, number, bytes): what comes with a kind and a scope. They are compared by identity;
 * the list keeps them. */
enum { PLAN_STATE, PLAN_STATUS, PLAN_FRAME, PLAN_KNOWN, PLAN };
enum { KNOWN_KIND, KNOWN_SCOPE, KNOWN_NUMBER, KNOWN_BYTES, KNOWN };

/* Lengths by hand: what "y#" means depends on the headers that it was compiled with, so a binary
 * of 3.13's would not work on 3.12. */
static int is_bytes(PyObject *bytes, Text *text) {
    char *data;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(bytes, &data, &length) < 0)
        return 0;
    text->data = data;
    text->length = (size_t)length;
    return 1;
}

static int is_tuple_of(PyObject *object, Py_ssize_t size, const char *what) {
    if (PyTuple_Check(object) && PyTuple_Size(object) == size)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s: a tuple of %zd is needed", what, size);
    return 0;
}

static int is_plan(PyObject *plan) {
    PyObject *frame;
    if (!is_tuple_of(plan, PLAN, "plan"))
        return 0;
    frame = PyTuple_GetItem(plan, PLAN_FRAME);
    if (PyType_Check(frame) && PyType_IsSubtype((PyTypeObject *)frame, &PyTuple_Type)
        && PyList_Check(PyTuple_GetItem(plan, PLAN_KNOWN)))
        return 1;
    PyErr_SetString(PyExc_TypeError, "plan: a class of tuples and a list are needed");
    return 0;
}

static int is_number(PyObject *object, uint64_t *number) {
    *number = PyLong_AsUnsignedLongLong(object);
    return !(*number == (uint64_t)-1 && PyErr_Occurred());
}

/* Find what is known of the kind and the scope of `facts`: 1 found, 0 not, -1 an error is set. */
static int find(PyObject *plan, PyObject *facts, Latest *latest) {
    PyObject *known = PyTuple_GetItem(plan, PLAN_KNOWN);
    PyObject *kind = PyTuple_GetItem(facts, KIND), *scope = PyTuple_GetItem(facts, SCOPE);
    Py_ssize_t at, count;
    if (latest->kind == kind && latest->scope == scope)
        return 1;
    for (at = 0, count = PyList_Size(known); at < count; at++) {
        PyObject *entry = PyList_GetItem(known, at);
        if (!is_tuple_of(entry, KNOWN, "known"))
            return -1;
        if (PyTuple_GetItem(entry, KNOWN_SCOPE) != scope
            || PyTuple_GetItem(entry, KNOWN_KIND) != kind)
            continue;
        if (!is_number(PyTuple_GetItem(entry, KNOWN_NUMBER), &latest->number))
            return -1;
        /* This first: what is let go may run code, which may take `entry` off the list. */
        keep(&latest->bytes, PyTuple_GetItem(entry, KNOWN_BYTES));
        keep(&latest->kind, kind);
        keep(&latest->scope, scope);
        return 1;
    }
    return 0;
}

static int is_zero(PyObject *number) {
    uint64_t value;
    return unsigned_of(number, &value) == DONE && value == 0;
}

static int is_plain(PyObject *plan, PyObject *facts) {
    PyObject *links = PyTuple_GetItem(facts, LINKS);
    return PyTuple_GetItem(facts, STATUS) == PyTuple_GetItem(plan, PLAN_STATUS)
        && PyTuple_GetItem(facts, STATE) == PyTuple_GetItem(plan, PLAN_STATE)
        && PyTuple_Check(links) && PyTuple_Size(links) == 0
        && is_zero(PyTuple_GetItem(facts, DROPPED_ATTRIBUTES))
        && is_zero(PyTuple_GetItem(facts, DROPPED_EVENTS))
        && is_zero(PyTuple_GetItem(facts, DROPPED_LINKS));
}

/* Return the frame (data, scope, None) of what was written. */
static PyObject *frame_of(State *state, PyObject *plan, Buffer *out, Result result,
                          PyObject *scope) {
    PyObject *data, *inner, *args = NULL, *made = NULL;
    if (result != DONE) {
        release(out);
        return result == DECLINED ? Py_NewRef(Py_None) : NULL;
    }
    data = PyBytes_FromStringAndSize((const char *)out->data, (Py_ssize_t)out->length);
    release(out);
    inner = data == NULL ? NULL : PyTuple_Pack(3, data, scope, Py_None);
    Py_XDECREF(data);
    if (inner != NULL)
        args = PyTuple_Pack(1, inner);
    Py_XDECREF(inner);
    if (args != NULL)
        made = state->tuple_new((PyTypeObject *)PyTuple_GetItem(plan, PLAN_FRAME), args, NULL);
    Py_XDECREF(args);
    return made;
}

static PyObject *wrong_count(const char *name, Py_ssize_t count) {
    return PyErr_Format(PyExc_TypeError, "%s: %zd arguments", name, count);
}

static PyObject *jaeger_frame(State *state, PyObject *plan, int compact, PyObject *facts,
                              Latest *latest, uint64_t count, PyObject *bytes) {
    Buffer out;
    Text ready;
    if (!is_bytes(bytes, &ready))
        return NULL;
    begin(&out);
    return frame_of(state, plan, &out,
                    put_jaeger(&out, compact, facts, latest, count, ready, state->event),
                    state->no_scope);
}

static PyObject *otlp_frame(State *state, PyObject *plan, PyObject *facts, Latest *latest,
                            uint64_t kind, PyObject *scope, Text status) {
    Buffer out;
    begin(&out);
    return frame_of(state, plan, &out, put_otlp(&out, facts, latest, kind, status), scope);
}

/* Not set: an empty message, as OpenTelemetry's encoder has it. */
static const Text NO_STATUS = {"\x7A\0", 2};
enum { COMPACT, BINARY, OTLP };

/* A frame, None where Python has to look, NULL for an error. `room` shrinks by its size. */
static PyObject *plain_frame(State *state, PyObject *plan, int format, PyObject *facts,
                             Latest *latest, Py_ssize_t *room) {
    PyObject *frame;
    int found;
    if (!is_tuple_of(facts, FACTS, "facts"))
        return NULL;
    found = is_plain(plan, facts) ? find(plan, facts, latest) : 0;
    if (found <= 0)
        return found < 0 ? NULL : Py_NewRef(Py_None);
    frame = format == OTLP
        ? otlp_frame(state, plan, facts, latest, latest->number, latest->bytes, NO_STATUS)
        : jaeger_frame(state, plan, format == COMPACT, facts, latest, latest->number,
                       latest->bytes);
    if (frame != NULL && frame != Py_None)
        *room -= PyBytes_Size(PyTuple_GetItem(frame, 0));
    return frame;
}

/* Append the frames of `many`, from the first on that `into` does not have. */
static PyObject *plain_frames(State *state, PyObject *plan, int format, PyObject *many,
                              PyObject *into, PyObject *bytes) {
    Latest latest = {NULL, NULL, NULL, NULL, 0, 0, 0};
    PyObject *frame = Py_None; /* NULL: an error is set */
    Py_ssize_t room = PyLong_AsSsize_t(bytes);
    if ((room == -1 && PyErr_Occurred()) || !is_plan(plan))
        return NULL;
    if (!PyList_Check(many) || !PyList_Check(into))
        return PyErr_Format(PyExc_TypeError, "many, into: lists are needed");
    /* Both are looked at anew: to append may run a collection, and that anything. */
    while (room > 0 && PyList_Size(into) < PyList_Size(many)) {
        PyObject *facts = Py_NewRef(PyList_GetItem(many, PyList_Size(into)));
        frame = plain_frame(state, plan, format, facts, &latest, &room);
        Py_DECREF(facts);
        if (frame == NULL)
            break;
        if (frame == Py_None) {
            Py_DECREF(frame);
            break;
        }
        if (PyList_Append(into, frame) < 0) {
            Py_DECREF(frame);
            frame = NULL;
            break;
        }
        Py_DECREF(frame);
    }
    forget(&latest);
    return frame == NULL ? NULL : PyLong_FromSsize_t(room);
}

PyDoc_STRVAR(jaeger_doc,
"jaeger(plan, compact, many, into, room, /)\njaeger(plan, compact, facts, count, tags, /)\n--\n\n"
"Append the frames of `many`, elements of Batch.spans, to `into`, from the first on that is not\n"
"there yet, until they fill `room` bytes, and up to one that the Python encoder has to look at;\n"
"return how many bytes are left then. Or return one frame, or None.\n\n"
"compact: a bool, the compact protocol or the binary one. count and tags: the number and bytes of\n"
"encoded tags that follow those of the attributes; without them the span has to be plain, and\n"
"they are what `plan` knows of its kind and scope. With them, links are not looked at.");

static PyObject *jaeger(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    State *state = PyModule_GetState(module);
    Latest latest = {NULL, NULL, NULL, NULL, 0, 0, 0};
    PyObject *made;
    uint64_t count;
    if (given == 5 && PyList_Check(args[2]))
        return plain_frames(state, args[0], args[1] == Py_True ? COMPACT : BINARY, args[2],
                            args[3], args[4]);
    if (given != 5)
        return wrong_count("jaeger", given);
    if (!is_plan(args[0]) || !is_tuple_of(args[2], FACTS, "facts") || !is_number(args[3], &count))
        return NULL;
    made = jaeger_frame(state, args[0], args[1] == Py_True, args[2], &latest, count, args[4]);
    forget(&latest);
    return made;
}

PyDoc_STRVAR(otlp_doc,
"otlp(plan, many, into, room, /)\notlp(plan, facts, kind, scope, status, /)\n--\n\n"
"Append the frames of `many`, elements of ScopeSpans.spans with their key and length, to `into`,\n"
"from the first on that is not there yet, until they fill `room` bytes, and up to one that the\n"
"Python encoder has to look at; return how many bytes are left then. Or return one frame, or None.\n\n"
"kind: OTLP's number. scope: what the frame says of it. status: the encoded field. Without them\n"
"the span has to be plain, and kind and scope are what `plan` knows of them. With them, trace\n"
"state, links and what was dropped of events and links are not looked at.");

static PyObject *otlp(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    State *state = PyModule_GetState(module);
    Latest latest = {NULL, NULL, NULL, NULL, 0, 0, 0};
    PyObject *made;
    Text status;
    uint64_t kind;
    if (given == 4)
        return plain_frames(state, args[0], OTLP, args[1], args[2], args[3]);
    if (given != 5)
        return wrong_count("otlp", given);
    if (!is_plan(args[0]) || !is_tuple_of(args[1], FACTS, "facts") || !is_number(args[2], &kind)
        || !is_bytes(args[4], &status))
        return NULL;
    made = otlp_frame(state, args[0], args[1], &latest, kind, args[3], status);
    forget(&latest);
    return made;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    State *state = PyModule_GetState(module);
    if (state != NULL) {
        Py_VISIT(state->event);
        Py_VISIT(state->no_scope);
    }
    return 0;
}

static int clear(PyObject *module) {
    State *state = PyModule_GetState(module);
    if (state != NULL) {
        Py_CLEAR(state->event);
        Py_CLEAR(state->no_scope);
    }
    return 0;
}

static void dealloc(void *module) { clear(module); }

static int execute(PyObject *module) {
    State *state = PyModule_GetState(module);
    state->event = PyUnicode_InternFromString("event");
    state->no_scope = PyBytes_FromStringAndSize(NULL, 0);
    state->tuple_new = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    if (state->event == NULL || state->no_scope == NULL || state->tuple_new == NULL)
        return -1;
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyMethodDef methods[] = {
    {"jaeger", (PyCFunction)(void (*)(void))jaeger, METH_FASTCALL, jaeger_doc},
    {"otlp", (PyCFunction)(void (*)(void))otlp, METH_FASTCALL, otlp_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_frames",
    "Frames of spans, encoded natively; an accelerator that may be absent.",
    sizeof(State),
    methods,
    slots,
    traverse,
    clear,
    dealloc,
};

PyMODINIT_FUNC PyInit__frames(void) { return PyModuleDef_Init(&definition); }
