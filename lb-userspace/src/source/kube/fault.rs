//! What an error of a watch means, and how it is told.
//!
//! This module must never decide how long to wait.

use kube::{core::Status, runtime::watcher};

use crate::chain::chain;

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing but to wait: the watch goes on where it was, or lists again by itself.
    Passing,
    /// Something that the server said could not be read, or is forgotten by now. Only a new list
    /// makes up for it.
    Lost,
    /// The server refuses to stream a list.
    NoStreaming,
}

pub(super) fn fault(error: &watcher::Error) -> Fault {
    use watcher::Error;
    match error {
        Error::WatchStartFailed(kube::Error::Api(status)) if refuses_streaming(status) => {
            Fault::NoStreaming
        }
        // A line that is JSON, but no event of this kind, is taken for a `Status` by the library.
        Error::WatchFailed(kube::Error::SerdeError(_) | kube::Error::Api(_)) => Fault::Lost,
        // The library lists again by itself only if an open watch is told so.
        Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410 => Fault::Lost,
        _ => Fault::Passing,
    }
}

/// A server without the feature WatchList, or with it switched off as in Kubernetes 1.33, calls the
/// parameter invalid (ValidateListOptions() in apimachinery's internalversion/validation).
fn refuses_streaming(status: &Status) -> bool {
    matches!(status.code, 400 | 422) && status.message.contains("sendInitialEvents")
}

/// An error in one line. The library's own texts repeat their causes.
pub(super) fn describe(error: &watcher::Error) -> String {
    use watcher::Error;
    match error {
        Error::InitialListFailed(error)
        | Error::WatchStartFailed(error)
        | Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => describe_status(status),
            kube::Error::Service(error) => chain(&**error),
            error => error.to_string(),
        },
        Error::WatchError(status) => describe_status(status),
        Error::NoResourceVersion => "an object without a resource version".to_owned(),
    }
}

fn describe_status(Status { code, message, .. }: &Status) -> String {
    if *code == 0 && message.is_empty() {
        return "an event or object that cannot be read".to_owned();
    }
    format!("HTTP {code}, {}", message.trim_end())
}

/// What helps, where someone has to do something.
pub(super) fn advice(error: &watcher::Error) -> &'static str {
    use watcher::Error;
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status,
        _ => return "",
    };
    match status.code {
        401 => ". The server does not accept the agent's token or certificate",
        403 => ". The agent needs the ClusterRole of deploy/daemonset.yaml",
        404 => ". The server is older than Kubernetes 1.33, or no API server",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Error;

    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    #[test]
    fn a_server_that_does_not_stream_is_told_from_one_that_is_in_trouble() {
        let forbidden = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
                         sendInitialEvents is forbidden for watch unless the WatchList feature \
                         gate is enabled";
        assert_eq!(fault(&Error::WatchStartFailed(api(422, forbidden))), Fault::NoStreaming);
        for (code, message) in [(422, "fieldSelector"), (403, "forbidden"), (500, forbidden)] {
            let error = Error::WatchStartFailed(api(code, message));
            assert_eq!(fault(&error), Fault::Passing, "{code}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_lost() {
        let error = || kube::Error::SerdeError(serde_json::from_str::<u8>("x").unwrap_err());
        assert_eq!(fault(&Error::WatchFailed(error())), Fault::Lost);
        let no_event = kube::Error::Api(Box::default());
        assert_eq!(fault(&Error::WatchFailed(no_event)), Fault::Lost);
        // A list is asked for again as a whole anyway.
        assert_eq!(fault(&Error::InitialListFailed(error())), Fault::Passing);
    }

    #[test]
    fn a_watch_that_is_too_late_to_begin_lists_anew() {
        assert_eq!(fault(&Error::WatchStartFailed(api(410, "too old"))), Fault::Lost);
        // If an open watch is told so, the library does that.
        let told = Status::failure("too old", "Expired").with_code(410);
        assert_eq!(fault(&Error::WatchError(Box::new(told))), Fault::Passing);
    }

    #[test]
    fn errors_are_told_once_and_with_what_helps() {
        let error = Error::InitialListFailed(api(403, "services is forbidden"));
        assert_eq!(describe(&error), "HTTP 403, services is forbidden");
        assert!(advice(&error).contains("ClusterRole"));
        let refused = std::io::Error::other("connection refused");
        let error = Error::WatchFailed(kube::Error::Service(Box::new(refused)));
        assert_eq!((describe(&error).as_str(), advice(&error)), ("connection refused", ""));
    }
}
