/* A machine that a test sets: preloaded into a process, it answers for the wall clock and for
 * the disk by the numbers in the file that STAGEDOOR_TEST_MACHINE names.
 *
 *   0: seconds that the wall clock is ahead of the true time. The monotonic clock is left
 *      alone, as it is when somebody sets a machine's clock.
 *   8: milliseconds that each write to a file, and each time it is to be safe there, takes.
 *  16: how many took so long, counted here.
 *  24: seconds for which the machine was suspended: the wall clock went on meanwhile, and so did
 *      the clock that counts from the boot on; the monotonic clock stood still. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct machine {
    int64_t ahead;
    int64_t write_takes;
    int64_t written;
    int64_t suspended;
};

static volatile struct machine *machine;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("STAGEDOOR_TEST_MACHINE");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *place = mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED) {
        machine = place;
    }
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && machine) {
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
            time->tv_sec += machine->ahead + machine->suspended;
        } else if (clock == CLOCK_BOOTTIME) {
            time->tv_sec += machine->suspended;
        }
    }
    return result;
}

static void wait_for_disk(int file) {
    int64_t takes = machine ? machine->write_takes : 0;
    struct stat stat;
    if (takes > 0 && fstat(file, &stat) == 0 && (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) {
        struct timespec time = {takes / 1000, takes % 1000 * 1000000};
        nanosleep(&time, NULL);
        __sync_fetch_and_add(&machine->written, 1);
    }
}

ssize_t write(int file, const void *bytes, size_t count) {
    wait_for_disk(file);
    return syscall(SYS_write, file, bytes, count);
}

int fsync(int file) {
    wait_for_disk(file);
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_for_disk(file);
    return (int)syscall(SYS_fdatasync, file);
}
