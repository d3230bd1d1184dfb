//! What the system says of this process: memory, CPU time, open files.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike as _;
use std::fs;

/// What the system says of this process; what it doesn't say is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<f64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
}

impl Process {
    /// As it is now. `/proc/self` alone is read, which stays readable where other processes are hidden.
    #[expect(clippy::cast_precision_loss, reason = "bytes, seconds and files far below 2^52")]
    pub(super) fn now() -> Self {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        let statm = fs::read_to_string("/proc/self/statm").ok();
        let pages = statm.and_then(|statm| statm.split(' ').nth(1)?.parse::<f64>().ok());
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let micros =
            usage.map(|usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds());
        let fds = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        Self {
            resident_bytes: page.zip(pages).map(|(page, pages)| page as f64 * pages),
            cpu_seconds: micros.map(|micros| micros as f64 / 1e6),
            // The one that reads them is open too.
            open_fds: fds.map(|fds| fds.saturating_sub(1) as f64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_all_of_this_process() {
        let _kept = fs::File::open("/proc/self/statm").unwrap();
        let Process { resident_bytes, cpu_seconds, open_fds, max_fds } = Process::now();
        assert!(resident_bytes > Some(1e6) && cpu_seconds > Some(0.0), "{resident_bytes:?} {cpu_seconds:?}");
        assert!(open_fds >= Some(1.0) && open_fds < max_fds, "{open_fds:?} {max_fds:?}");
    }
}
