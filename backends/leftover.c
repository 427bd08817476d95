/* backends/leftover.c - see leftover.h. */
#include "backends/leftover.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lead[] = ".qonnx-";

/* Folders of ours have files, and folders of files. */
enum { FOLDER_DEPTH = 2 };

const char *temp_name(char *name, const char *ending)
{
    static atomic_uint next;
    snprintf(name, TEMP_NAME, "%s%ld-%u%s", lead, (long)getpid(), atomic_fetch_add(&next, 1),
             ending);
    return name;
}

void fd_lock(int fd)
{
    while (flock(fd, LOCK_EX) && errno == EINTR) {
    }
}

bool temp_lock(int fd)
{
    struct stat s;
    fd_lock(fd);
    return fstat(fd, &s) || s.st_nlink > 0;
}

static bool is_temp_name(const char *name)
{
    return !strncmp(name, lead, sizeof lead - 1) && isdigit((unsigned char)name[sizeof lead - 1]);
}

void folder_remove(int dir, const char *name, int depth)
{
    _Alignas(struct dirent64) char room[4096];
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && (n = getdents64(fd, room, sizeof room)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *e = (const void *)(room + at);
            at += e->d_reclen;
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
            if (unlinkat(fd, e->d_name, 0) && depth > 1) folder_remove(fd, e->d_name, depth - 1);
        }
    if (fd >= 0) close(fd);
    unlinkat(dir, name, AT_REMOVEDIR);
}

/* Removes one thing if nobody has it locked, it is the user's own, and still what the
 * name means. */
static void remove_leftover(int dir, const char *name)
{
    struct stat s, now;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return;
    bool ours = !fstat(fd, &s) && s.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB) &&
                !fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) && now.st_dev == s.st_dev &&
                now.st_ino == s.st_ino;
    if (ours && S_ISREG(s.st_mode)) unlinkat(dir, name, 0);
    if (ours && S_ISDIR(s.st_mode)) folder_remove(dir, name, FOLDER_DEPTH);
    close(fd);
}

void leftovers_remove(const char *directory)
{
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        if (is_temp_name(e->d_name)) remove_leftover(dirfd(d), e->d_name);
    if (d) closedir(d);
}
