/* ir/arena.c - blocks in a list; big allocations get a block of their own. */
#include "ir/arena.h"
#include "ir/pages.h"
#include "ir/size.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_BLOCK = 16 << 10, LARGEST_BLOCK = 1 << 20 };

/* From this size on a block has whole pages. Sanitizers only see around what malloc gives. */
#ifdef HARD
static const size_t IN_PAGES = SIZE_MAX;
#else
static const size_t IN_PAGES = LARGEST_BLOCK / 4;
#endif

typedef struct Block {
    struct Block *next; /* older block */
    size_t used, size;  /* bytes behind this header */
    bool pages;         /* memory of pages_new */
} Block;

typedef struct Release {
    struct Release *next;    /* registered before */
    void (*release)(void *); /* called with `what` */
    void *what;
} Release;

struct Arena {
    Block *blocks;     /* newest first; allocations come from the first */
    size_t block_size; /* of the next one */
    Release *releases; /* last registered first */
};

_Thread_local bool memory_is_out;

void qonnx_last_words(void)
{
    static atomic_flag taken = ATOMIC_FLAG_INIT;
    static _Thread_local bool ours;
    if (ours) _exit(1); /* a second trouble on the way out */
    ours = true;
    if (!atomic_flag_test_and_set(&taken)) return;
    for (;;) pause();
}

void qonnx_out_of_memory(void)
{
    memory_is_out = true;
    qonnx_last_words();
    fputs("qonnx: out of memory\n", stderr);
    exit(1);
}

void *xmalloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) qonnx_out_of_memory();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) qonnx_out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t bytes)
{
    p = realloc(p, bytes ? bytes : 1);
    if (!p) qonnx_out_of_memory();
    return p;
}

/* Both factors as one size; what does not fit is out of memory. */
static size_t array_bytes(size_t n, size_t size)
{
    size_t bytes;
    if (!size_mul(n, size, &bytes)) qonnx_out_of_memory();
    return bytes;
}

void *xmalloc_array(size_t n, size_t size) { return xmalloc(array_bytes(n, size)); }

void *xrealloc_array(void *p, size_t n, size_t size) { return xrealloc(p, array_bytes(n, size)); }

Arena *arena_new(void)
{
    Arena *a = xcalloc(1, sizeof *a);
    a->block_size = FIRST_BLOCK;
    return a;
}

void arena_free(Arena *a)
{
    if (!a) return;
    for (Release *r = a->releases; r; r = r->next) r->release(r->what);
    for (Block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        size_t bytes = sizeof *b + b->size;
        bool pages = b->pages;
#ifdef HARD
        memset(b, 0xa5, bytes); /* what still points here is found */
#endif
        if (pages) pages_free(b, bytes);
        else free(b);
    }
    free(a);
}

size_t arena_bytes(const Arena *a)
{
    size_t bytes = 0;
    for (const Block *b = a->blocks; b; b = b->next) bytes += sizeof *b + b->size;
    return bytes;
}

static Block *block_new(size_t size)
{
    size_t bytes;
    if (!size_add(size, sizeof(Block), &bytes)) qonnx_out_of_memory();
    bool pages = bytes >= IN_PAGES;
    Block *b = pages ? pages_new(bytes) : xcalloc(1, bytes);
    if (!b) qonnx_out_of_memory();
    b->size = size;
    b->pages = pages;
    return b;
}

/* The next free address in `b` with that alignment, NULL when `bytes` do not fit behind it. */
static void *block_take(Block *b, size_t bytes, size_t align)
{
    uintptr_t base = (uintptr_t)(b + 1),
              at = (base + b->used + align - 1) & ~(uintptr_t)(align - 1);
    if (at - base > b->size || b->size - (at - base) < bytes) return NULL;
    b->used = at - base + bytes;
    return (void *)at;
}

static void *take(Arena *a, size_t bytes, size_t align)
{
    void *p = a->blocks ? block_take(a->blocks, bytes, align) : NULL;
    if (p) return p;
    size_t room;
    if (!size_add(bytes, align, &room)) qonnx_out_of_memory();
    if (room > a->block_size / 4) { /* a block of its own, behind the one in use */
        Block *b = block_new(room);
        if (a->blocks) {
            b->next = a->blocks->next;
            a->blocks->next = b;
        } else {
            a->blocks = b;
        }
        return block_take(b, bytes, align);
    }
    Block *b = block_new(a->block_size);
    b->next = a->blocks;
    a->blocks = b;
    if (a->block_size < LARGEST_BLOCK) a->block_size *= 2;
    return block_take(b, bytes, align);
}

void *arena_alloc(Arena *a, size_t bytes) { return take(a, bytes, 16); }

void *arena_aligned(Arena *a, size_t bytes) { return take(a, bytes, 64); }

void *arena_array(Arena *a, size_t n, size_t size) { return arena_alloc(a, array_bytes(n, size)); }

void *arena_copy(Arena *a, const void *data, size_t bytes)
{
    void *p = arena_alloc(a, bytes);
    if (bytes) memcpy(p, data, bytes);
    return p;
}

char *arena_string(Arena *a, const char *s) { return arena_copy(a, s, strlen(s) + 1); }

char *arena_printf(Arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *s = arena_alloc(a, n < 0 ? 1 : (size_t)n + 1);
    if (n >= 0) vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void arena_on_free(Arena *a, void (*release)(void *what), void *what)
{
    Release *r = arena_alloc(a, sizeof *r);
    *r = (Release){a->releases, release, what};
    a->releases = r;
}

void *arena_grow(Arena *a, void *array, int n, int *cap, size_t size)
{
    if (n < *cap) return array;
    int bigger = *cap ? *cap * 2 : 4;
    void *p = arena_array(a, (size_t)bigger, size);
    if (n) memcpy(p, array, (size_t)n * size);
    *cap = bigger;
    return p;
}

char *xstrndup(const char *text, size_t bytes)
{
    size_t n = strnlen(text, bytes);
    char *copy = xmalloc(n + 1);
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

char *xstrdup(const char *text) { return xstrndup(text, strlen(text)); }
