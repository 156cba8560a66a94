//! No socket fails or goes astray while Services change as fast as the agent can publish.

use std::time::Duration;

use lab::churn::{self, Report, TCP4};

/// So small that blocks are reused after every grace period, and publishing waits for them.
const BACKENDS: u32 = 128;
const DURATION: Duration = Duration::from_secs(5);

/// Fails unless nothing went wrong, and enough happened to tell.
fn judge(report: &Report) {
    eprintln!("{report:?}");
    assert_eq!((report.failures, report.wrong_backends), (0, 0));
    assert!(report.connects + report.datagrams > 1_000, "too few to tell anything");
    assert!(report.publishes > 100, "too few to tell anything");
    assert!(report.grace_periods > 10, "nothing was reused");
    assert!(report.guests > 0, "no Service came or went");
}

#[test]
fn no_connect_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        judge(&churn::run(lab, &[TCP4], DURATION, BACKENDS, |_| ())?);
        Ok(())
    });
}

#[test]
fn no_socket_of_any_kind_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        let lines = churn::all(lab.families()?);
        let report = churn::run(lab, &lines, DURATION, BACKENDS, |_| ())?;
        assert!(report.datagrams > 0 && report.connects > 0, "one protocol was left out");
        judge(&report);
        Ok(())
    });
}
