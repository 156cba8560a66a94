//! Refusals, with the codes, reasons and words of the real server.
//!
//! Clients act on `code` and `reason`; people read `message`. Nothing here decides what is refused.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

use super::resource::{Resource, Verb};

/// A `Status` object that says why not.
pub(super) type Refusal = Box<Status>;

pub(super) fn failure(code: u16, reason: &str, message: impl Into<String>) -> Status {
    Status {
        code: Some(code.into()),
        message: Some(message.into()),
        reason: Some(reason.into()),
        status: Some("Failure".into()),
        ..Status::default()
    }
}

fn named(mut status: Status, resource: Resource, name: &str) -> Refusal {
    status.details = Some(StatusDetails {
        group: Some(resource.group()).filter(|group| !group.is_empty()),
        kind: Some(resource.plural()),
        name: Some(name.to_owned()),
        ..StatusDetails::default()
    });
    Box::new(status)
}

/// `services "web"`, `endpointslices.discovery.k8s.io "web"`.
fn subject(resource: Resource, name: &str) -> String {
    format!("{} \"{name}\"", qualified(resource))
}

fn qualified(resource: Resource) -> String {
    match resource.group() {
        group if group.is_empty() => resource.plural(),
        group => format!("{}.{group}", resource.plural()),
    }
}

pub(super) fn not_found(resource: Resource, name: &str) -> Refusal {
    let message = format!("{} not found", subject(resource, name));
    named(failure(404, "NotFound", message), resource, name)
}

/// For a path that is no resource.
pub(super) fn unknown() -> Refusal {
    Box::new(failure(404, "NotFound", "the server could not find the requested resource"))
}

pub(super) fn exists(resource: Resource, name: &str) -> Refusal {
    let message = format!("{} already exists", subject(resource, name));
    named(failure(409, "AlreadyExists", message), resource, name)
}

pub(super) fn conflict(resource: Resource, name: &str, why: &str) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {}: {why}", subject(resource, name));
    named(failure(409, "Conflict", message), resource, name)
}

/// What is wrong with one field.
pub(super) struct Cause {
    pub(super) field: &'static str,
    /// `FieldValueInvalid` and so on.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// `kind` and `group` are those of what was sent, which need not be a resource.
pub(super) fn invalid(group: &str, kind: &str, name: &str, cause: Cause) -> Refusal {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let Cause { field, reason, message } = cause;
    let text = format!("{qualified} \"{name}\" is invalid: {field}: {message}");
    let mut status = failure(422, "Invalid", text);
    status.details = Some(StatusDetails {
        causes: Some(vec![StatusCause {
            field: Some(field.into()),
            message: Some(message),
            reason: Some(reason.into()),
        }]),
        group: Some(group.to_owned()).filter(|group| !group.is_empty()),
        kind: Some(kind.to_owned()),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        ..StatusDetails::default()
    });
    Box::new(status)
}

pub(super) fn bad_request(message: impl Into<String>) -> Refusal {
    Box::new(failure(400, "BadRequest", message))
}

/// A watch that begins before what is remembered.
pub(super) fn too_old(version: u64, oldest: u64) -> Refusal {
    Box::new(failure(410, "Expired", format!("too old resource version: {version} ({oldest})")))
}

/// A page of a list that is no longer remembered.
pub(super) fn page_expired() -> Refusal {
    let message = "The provided continue parameter is too old to display a consistent list result. \
                   You can start a new list without the continue parameter.";
    Box::new(failure(410, "Expired", message))
}

/// A version that is still to come.
pub(super) fn too_large(version: u64, current: u64) -> Refusal {
    let message = format!("Too large resource version: {version}, current: {current}");
    let mut status = failure(504, "Timeout", &message);
    status.details = Some(StatusDetails {
        causes: Some(vec![StatusCause {
            message: Some("Too large resource version".into()),
            reason: Some("ResourceVersionTooLarge".into()),
            ..StatusCause::default()
        }]),
        retry_after_seconds: Some(1),
        ..StatusDetails::default()
    });
    Box::new(status)
}

pub(super) fn not_allowed() -> Refusal {
    let message = "the server does not allow this method on the requested resource";
    Box::new(failure(405, "MethodNotAllowed", message))
}

pub(super) fn unsupported(accepted: &str) -> Refusal {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    Box::new(failure(415, "UnsupportedMediaType", message))
}

pub(super) fn unauthorized() -> Refusal {
    Box::new(failure(401, "Unauthorized", "Unauthorized"))
}

pub(super) fn forbidden(resource: Resource, verb: Verb, namespace: Option<&str>) -> Refusal {
    let place = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".into(),
    };
    let message = format!(
        "{} is forbidden: User \"lab\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        qualified(resource),
        verb.name(),
        resource.plural(),
        resource.group(),
    );
    let mut status = failure(403, "Forbidden", message);
    status.details = Some(StatusDetails {
        group: Some(resource.group()).filter(|group| !group.is_empty()),
        kind: Some(resource.plural()),
        ..StatusDetails::default()
    });
    Box::new(status)
}

/// What a server that cannot serve says: 429, 500, 503, or another code.
pub(super) fn unable(code: u16, retry_after: Option<u32>) -> Refusal {
    let (reason, message) = match code {
        429 => ("TooManyRequests", "Too many requests: please try again later"),
        500 => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "Timeout: request did not complete within the requested timeout"),
        _ => ("", "the lab's server was told to answer so"),
    };
    let mut status = failure(code, reason, message);
    if let Some(seconds) = retry_after {
        status.details = Some(StatusDetails {
            retry_after_seconds: i32::try_from(seconds).ok(),
            ..StatusDetails::default()
        });
    }
    Box::new(status)
}
