//! What this kernel, or this agent's place on it, lacks, and what does not work then.
//!
//! Nothing here asks anybody.

use super::cgroup;
use crate::{commands::NO_IPV6, dataplane::Loaded};

/// What was found out.
pub(super) struct Here {
    pub(super) refuses_with_errno: bool,
    pub(super) has_ipv6: bool,
    pub(super) sees_the_node: bool,
    /// Whether the programs are attached where all of the node's processes are below, as far as is
    /// known.
    pub(super) serves_the_node: bool,
}

/// A line for each thing that is missing.
pub(super) fn lacks(here: Here, programs: &[Loaded]) -> impl Iterator<Item = String> {
    let errno = (!here.refuses_with_errno)
        .then_some("this kernel has no bpf_set_retval (5.18): a refused connect fails with EPERM");
    let ipv6 = (!here.has_ipv6).then_some(NO_IPV6);
    let node = (!here.sees_the_node).then_some(
        "this agent is in a PID namespace of its own (hostPID: true is missing): it finds no Pod, \
         neither to leave it alone nor to close its sockets when their backend goes",
    );
    let cgroup = (!here.serves_the_node).then_some(cgroup::OF_A_CONTAINER);
    let hooks = programs.iter().filter_map(|loaded| {
        // The verifier's log follows, which is for developers.
        let error = loaded.error.as_ref()?.lines().next().unwrap_or_default();
        Some(format!("{} is left out ({error}): {}", loaded.hook.name, loaded.hook.consequence))
    });
    [errno, ipv6, node, cgroup].into_iter().flatten().map(ToOwned::to_owned).chain(hooks)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dataplane::hooks::HOOKS;

    #[test]
    fn what_is_there_is_not_said() {
        assert_eq!(lacks(here(true), &loaded(&[])).count(), 0);
    }

    #[test]
    fn hooks_that_the_kernel_refuses_are_named_with_what_does_not_work() {
        let programs = loaded(&["sendmsg6", "post_bind4"]);
        let said: Vec<_> = lacks(here(false), &programs).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        assert!(said[0].contains("EPERM") && said[1].contains("IPv6"), "{said:?}");
        assert!(said[2].contains("hostPID") && said[3].contains("--cgroup"), "{said:?}");
        assert_eq!(
            said[4],
            "sendmsg6 is left out (no): datagrams of unconnected sockets to IPv6 are not balanced"
        );
        assert!(said[5].starts_with("post_bind4 is left out (no)"), "{said:?}");
    }

    fn here(whole: bool) -> Here {
        Here {
            refuses_with_errno: whole,
            has_ipv6: whole,
            sees_the_node: whole,
            serves_the_node: whole,
        }
    }

    fn loaded(refused: &[&str]) -> Vec<Loaded> {
        let programs = HOOKS.into_iter().map(|hook| Loaded {
            hook,
            instructions: None,
            took: Duration::ZERO,
            error: refused.contains(&hook.name).then(|| "no\nlog".to_owned()),
        });
        programs.collect()
    }
}
