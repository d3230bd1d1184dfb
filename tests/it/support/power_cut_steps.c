/* Does what its arguments say, step by step, and kills itself: a program for the layer's own tests.
 *
 * create F | write F AT TEXT | append F TEXT | size F N | sync F | rename F TO | unlink F | mkdir F | map F | end
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int must(long done, const char *step) {
    if (done < 0) {
        perror(step);
        exit(1);
    }
    return (int)done;
}

int main(int count, char **arguments) {
    for (int i = 1; i < count;) {
        const char *step = arguments[i++];
        if (!strcmp(step, "end")) return 0;
        const char *file = arguments[i++];
        if (!strcmp(step, "create")) {
            close(must(open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600), step));
        } else if (!strcmp(step, "write")) {
            int fd = must(open(file, O_WRONLY), step);
            long at = atol(arguments[i++]);
            const char *text = arguments[i++];
            must(pwrite(fd, text, strlen(text), at), step);
            close(fd);
        } else if (!strcmp(step, "append")) {
            int fd = must(open(file, O_WRONLY | O_APPEND), step);
            const char *text = arguments[i++];
            must(write(fd, text, strlen(text)), step);
            close(fd);
        } else if (!strcmp(step, "size")) {
            int fd = must(open(file, O_WRONLY), step);
            must(ftruncate(fd, atol(arguments[i++])), step);
            close(fd);
        } else if (!strcmp(step, "sync")) {
            int fd = must(open(file, O_RDONLY), step);
            must(fsync(fd), step);
            close(fd);
        } else if (!strcmp(step, "rename")) {
            must(rename(file, arguments[i++]), step);
        } else if (!strcmp(step, "unlink")) {
            must(unlink(file), step);
        } else if (!strcmp(step, "mkdir")) {
            must(mkdir(file, 0700), step);
        } else if (!strcmp(step, "map")) {
            int fd = must(open(file, O_RDWR), step);
            must(mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, step);
        } else {
            return 2;
        }
    }
    return raise(SIGKILL);
}
