//! Which calls of the kernel the jail has: most, some watched, some refused.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Calls that the supervisor sees before the kernel does them.
pub(super) const WATCHED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_creat,
    libc::SYS_truncate,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

/// Calls that no package needs: the supervisor writes them down and refuses them. Without it they do
/// not work either (seccomp(2), `SECCOMP_RET_TRACE`).
pub(super) const REFUSED: &[(i64, &str)] = &[
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_readv, "process_vm_readv"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_pidfd_getfd, "pidfd_getfd"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_fsopen, "fsopen"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_fsconfig, "fsconfig"),
    (libc::SYS_fspick, "fspick"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_perf_event_open, "perf_event_open"),
    (libc::SYS_userfaultfd, "userfaultfd"),
    (libc::SYS_init_module, "init_module"),
    (libc::SYS_finit_module, "finit_module"),
    (libc::SYS_delete_module, "delete_module"),
    (libc::SYS_kexec_load, "kexec_load"),
    (libc::SYS_kexec_file_load, "kexec_file_load"),
    (libc::SYS_reboot, "reboot"),
    (libc::SYS_swapon, "swapon"),
    (libc::SYS_swapoff, "swapoff"),
    (libc::SYS_acct, "acct"),
    (libc::SYS_quotactl, "quotactl"),
    (libc::SYS_settimeofday, "settimeofday"),
    (libc::SYS_clock_settime, "clock_settime"),
    (libc::SYS_sethostname, "sethostname"),
    (libc::SYS_iopl, "iopl"),
    (libc::SYS_ioperm, "ioperm"),
    (libc::SYS_open_by_handle_at, "open_by_handle_at"),
    (libc::SYS_add_key, "add_key"),
    (libc::SYS_request_key, "request_key"),
    (libc::SYS_keyctl, "keyctl"),
];

/// Calls that honest programs try and do without: they are told that there is no such call.
/// `clone3` hides its flags in memory, where no filter sees them, and `io_uring` opens files and
/// connections past every filter.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Changes of owner: they succeed and change nothing, as for `fakeroot`. Nobody in the jail could give
/// a file away, and installers that mean to be root end without it.
const IDLE: &[i64] = &[libc::SYS_chown, libc::SYS_fchown, libc::SYS_lchown, libc::SYS_fchownat];

/// The newest call that is known here; newer ones do not exist in the jail.
const NEWEST: i64 = 462;

/// Flags of `clone` that make namespaces.
const SPACES: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    // Who is not traced could start programs unseen; seccomp would refuse them all, and this says so.
    libc::CLONE_UNTRACED,
];

/// The filters, in the order in which they are put on.
pub(super) fn filters() -> Result<Vec<BpfProgram>, String> {
    let failed = |e: seccompiler::BackendError| format!("the filter of calls is wrong: {e}");
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| format!("there is no filter of calls for {}", std::env::consts::ARCH))?;
    let allow = SeccompAction::Allow;
    let known = (0..=NEWEST).filter(|n| !ABSENT.contains(n)).map(|n| (n, Vec::new())).collect();
    let errno = |e: i32| SeccompAction::Errno(e.unsigned_abs());
    let mut out = Vec::new();
    let absent = SeccompFilter::new(known, errno(libc::ENOSYS), allow.clone(), arch);
    out.push(absent.and_then(BpfProgram::try_from).map_err(failed)?);

    let idle = IDLE.iter().map(|n| (*n, Vec::new())).collect();
    let idle = SeccompFilter::new(idle, allow.clone(), errno(0), arch);
    out.push(idle.and_then(BpfProgram::try_from).map_err(failed)?);

    let flag = |f: i32| {
        let bit = u64::from(f.unsigned_abs());
        let op = SeccompCmpOp::MaskedEq(bit);
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, bit)?])
    };
    let spaces: Result<Vec<SeccompRule>, _> = SPACES.into_iter().map(flag).collect();
    let clone = BTreeMap::from([(libc::SYS_clone, spaces.map_err(failed)?)]);
    let clone = SeccompFilter::new(clone, allow.clone(), errno(libc::EPERM), arch);
    out.push(clone.and_then(BpfProgram::try_from).map_err(failed)?);

    let mut traced: BTreeMap<i64, Vec<SeccompRule>> =
        WATCHED.iter().chain(REFUSED.iter().map(|(n, _)| n)).map(|n| (*n, Vec::new())).collect();
    // Data on a connection that stands says nothing new about where it goes.
    let op = SeccompCmpOp::Ne;
    let somewhere = SeccompCondition::new(4, SeccompCmpArgLen::Qword, op, 0);
    let somewhere = somewhere.and_then(|c| SeccompRule::new(vec![c])).map_err(failed)?;
    traced.insert(libc::SYS_sendto, vec![somewhere]);
    let traced = SeccompFilter::new(traced, allow, SeccompAction::Trace(0), arch);
    out.push(traced.and_then(BpfProgram::try_from).map_err(failed)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all: Vec<i64> = WATCHED.to_vec();
        all.extend(REFUSED.iter().map(|(n, _)| n));
        all.extend(ABSENT);
        all.extend(IDLE);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|n| *n <= NEWEST));
        assert_eq!(filters().unwrap().len(), 4);
    }
}
