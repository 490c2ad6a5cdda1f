/* The wall clock of a process, jumping an hour forth and back every two seconds. Preloaded by a test. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

static long jump(long seconds) { return (seconds / 2) % 2 ? 3600 : -3600; }

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, at);
    if (!answer && clock == CLOCK_REALTIME) at->tv_sec += jump(at->tv_sec);
    return answer;
}

time_t time(time_t *into) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (into) *into = at.tv_sec;
    return at.tv_sec;
}
