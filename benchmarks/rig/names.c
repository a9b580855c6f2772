/* Looks up host names that end in ".test" in a file of this process, and nowhere else.
 *
 *   cc -shared -fPIC -o names.so names.c -ldl
 *   LD_PRELOAD=names.so RIG_HOSTS=hosts program
 *
 * Lines of the file: ADDRESS NAME. A name that does not stand there is not known.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*lookup)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    static lookup real;
    if (!real) real = (lookup)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = node ? strlen(node) : 0;
    if (length < 5 || strcmp(node + length - 5, ".test")) return real(node, service, hints, found);
    char address[64], name[256];
    const char *path = getenv("RIG_HOSTS");
    FILE *file = path ? fopen(path, "r") : NULL;
    int known = 0;
    while (file && !known && fscanf(file, "%63s %255s", address, name) == 2)
        known = !strcmp(name, node);
    if (file) fclose(file);
    return known ? real(address, service, hints, found) : EAI_NONAME;
}
