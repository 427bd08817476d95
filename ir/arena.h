/* ir/arena.h - a bump allocator: what belongs to a graph or a program is freed with it, at once.
 *
 * Memory is zeroed. Running out of memory ends the process with one line and status 1: sizes that
 * come from a file have been checked before they get here.
 */
#ifndef IR_ARENA_H
#define IR_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Arena Arena;

Arena *arena_new(void);
/* Runs the release functions, last registered first, then frees every block. NULL is fine. */
void arena_free(Arena *a);

/* `bytes` zeroed bytes, aligned to 16. */
void *arena_alloc(Arena *a, size_t bytes);
/* The same for n elements of `size` bytes; a product that overflows is out of memory. */
void *arena_array(Arena *a, size_t n, size_t size);
/* 64-byte aligned, for constants that kernels read. */
void *arena_aligned(Arena *a, size_t bytes);
void *arena_copy(Arena *a, const void *data, size_t bytes);
char *arena_string(Arena *a, const char *s);
char *arena_printf(Arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Bytes that it takes, but for what is registered to be released with it. */
size_t arena_bytes(const Arena *a);

/* Calls release(what) when the arena is freed: files, mappings, other libraries' objects. */
void arena_on_free(Arena *a, void (*release)(void *what), void *what);

/* Makes room in a growing array that lives in an arena: `n` used of `*cap` elements of `size`
 * bytes. Returns the array, moved if it had to grow. */
void *arena_grow(Arena *a, void *array, int n, int *cap, size_t size);

/* This thread has said that memory is out, and ends the process. */
extern _Thread_local bool memory_is_out;

/* malloc and realloc that never return NULL: for memory with a life of its own. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t bytes);
/* The same for n elements of `size` bytes; a product that overflows is out of memory. Products of
 * sizes are not written out elsewhere: tools/lint.sh refuses them. */
void *xmalloc_array(size_t n, size_t size);
void *xrealloc_array(void *p, size_t n, size_t size);
/* Copies of a text, and of at most `bytes` of it; freed with free(). */
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t bytes);

#endif
