//! No socket fails or goes astray while Services change as fast as the agent can publish.
#![forbid(unsafe_code)]

use std::time::Duration;

use lab::churn::{self, Report, TCP4};

/// So small that blocks are reused after every grace period, and publishing waits for them.
const BACKENDS: u32 = 128;
/// It goes on for longer where less happens in that time.
const DURATION: Duration = Duration::from_secs(5);

/// Whether enough happened to tell.
fn is_enough(report: &Report) -> bool {
    report.connects + report.datagrams > 1_000
        && report.publishes > 100
        // Blocks and slots were reused, and Services came and went.
        && report.grace_periods > 10
        && report.guests > 0
}

/// Fails unless nothing went wrong.
fn judge(report: &Report) {
    eprintln!("{report:?}");
    assert_eq!((report.failures, report.wrong_backends), (0, 0));
}

#[test]
fn no_connect_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        judge(&churn::run(lab, &[TCP4], DURATION, is_enough, BACKENDS, |_| ())?);
        Ok(())
    });
}

#[test]
fn no_socket_of_any_kind_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        let lines = churn::all(lab.families()?);
        let of_both =
            |report: &Report| report.datagrams > 0 && report.connects > 0 && is_enough(report);
        judge(&churn::run(lab, &lines, DURATION, of_both, BACKENDS, |_| ())?);
        Ok(())
    });
}
