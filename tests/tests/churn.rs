//! No socket fails or goes astray while Services change as fast as the agent can publish.

use std::time::Duration;

use lab::churn;

#[test]
fn no_connect_fails_or_goes_astray_while_backends_change() {
    lab::isolated(|lab| {
        // So small that blocks are reused after every grace period, and publishing waits for them.
        let report = churn::run(lab, Duration::from_secs(5), 128, |_| ())?;
        eprintln!("{report:?}");
        assert_eq!((report.failures, report.wrong_backends), (0, 0));
        assert!(report.connects > 1_000 && report.publishes > 100, "too few to tell anything");
        assert!(report.grace_periods > 10, "nothing was reused");
        assert!(report.guests > 0, "no Service came or went");
        Ok(())
    });
}
