//! What a request is answered, and in which order that is decided: it is counted, its token is checked,
//! faults befall it, and what is left is done.
//!
//! A fault must never befall a request without the right token, nor one that is answered without
//! any.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Status, StatusDetails};
use serde_json::Value;

use super::{
    discovery,
    faults::{Answer, Effect},
    kind::{Kind, dispatch},
    list,
    object::{Data, Object, plain},
    parameters::Parameters,
    resource::{Resource, Target, Verb},
    shared::{Asked, Shared},
    status::{self, Refusal},
    watch,
    wire::Control,
    write::{self, Deleted, Part},
};

const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// What answers consist of.
pub(super) type Body = UnsyncBoxBody<Data, io::Error>;

/// Answers a request that came over the connection of `control`.
pub(super) async fn answer(
    shared: Arc<Shared>,
    control: Arc<Control>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    if let Some(answer) = discovery::answer(request.method(), request.uri().path()) {
        return Ok(answer);
    }
    Ok(respond(&shared, &control, request).await.unwrap_or_else(|refusal| refused(&refusal)))
}

async fn respond(
    shared: &Arc<Shared>,
    control: &Arc<Control>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let target = Target::parse(request.uri().path()).ok_or_else(status::unknown)?;
    let parameters = Parameters::parse(request.uri().query().unwrap_or_default());
    let watched = parameters.is_set("watch");
    let verb = verb(request.method(), &target, watched).ok_or_else(status::not_allowed)?;
    shared.asked().push(Asked {
        at: std::time::Instant::now(),
        verb,
        resource: target.resource,
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        parameters: parameters.clone(),
    });
    let token = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    if token.and_then(|it| it.strip_prefix("Bearer ")) != Some(shared.token().as_str()) {
        return Err(status::unauthorized());
    }
    let verdict = shared.faults().judge(target.resource, verb);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    match verdict.instead {
        Some(Effect::Answer(answer)) => return failing(answer, &target, verb),
        Some(Effect::Garbage) => {
            return Ok(whole(StatusCode::OK, "{\"kind\":\"List\",\"items\":[{\"metadata\""));
        }
        Some(Effect::Delay(_)) | None => {}
    }
    match verb {
        Verb::List => {
            let store = shared.store();
            let namespace = target.namespace.as_deref();
            let page = list::page(&store, target.resource, namespace, &parameters)?;
            drop(store);
            let frames = stream::iter(page.pieces().map(|piece| Ok(Frame::data(piece))));
            Ok(json(StatusCode::OK, StreamBody::new(frames).boxed_unsync()))
        }
        Verb::Watch => {
            let Target { resource, namespace, .. } = target;
            let watch = watch::open(shared, control, resource, namespace, &parameters)?;
            Ok(json(StatusCode::OK, StreamBody::new(watch.frames()).boxed_unsync()))
        }
        _ => one(shared, &target, verb, &parameters, request).await,
    }
}

fn verb(method: &Method, target: &Target, watched: bool) -> Option<Verb> {
    let one = target.name.is_some();
    match *method {
        Method::GET if one => Some(Verb::Get),
        Method::GET if watched => Some(Verb::Watch),
        Method::GET => Some(Verb::List),
        Method::POST if !one => Some(Verb::Create),
        Method::PUT if one => Some(Verb::Update),
        Method::PATCH if one => Some(Verb::Patch),
        Method::DELETE if one && !target.status => Some(Verb::Delete),
        _ => None,
    }
}

fn failing(answer: Answer, target: &Target, verb: Verb) -> Result<Response<Body>, Refusal> {
    let Answer { code, retry_after, plain } = answer;
    if !plain {
        return Err(match code {
            401 => status::unauthorized(),
            403 => status::forbidden(target.resource, verb, target.namespace.as_deref()),
            _ => status::unable(code, retry_after),
        });
    }
    let mut response = whole(code_of(code), "Too many requests, please try again later.\n");
    let headers = response.headers_mut();
    let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}

/// What is done with a single object.
async fn one(
    shared: &Shared,
    target: &Target,
    verb: Verb,
    parameters: &Parameters,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.and_then(|it| it.split(';').next()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await;
    let body = body.map_err(|error| status::bad_request(error.to_string()))?.to_bytes();
    dispatch!(target.resource, K => one_of::<K>(shared, target, verb, parameters, &kind, &body))
}

fn one_of<K: Kind>(
    shared: &Shared,
    target: &Target,
    verb: Verb,
    parameters: &Parameters,
    content: &str,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    let part = if target.status { Part::Status } else { Part::Main };
    let name = target.name.clone().unwrap_or_default();
    let key = (target.namespace.clone().unwrap_or_default(), name);
    let mut store = shared.store();
    let written = |object: Arc<Object>| Ok(whole(StatusCode::OK, object.json.clone()));
    match verb {
        Verb::Create => {
            let object: K = parse(body)?;
            let object = write::create(&mut store, target.namespace.as_deref(), object, part)?;
            Ok(whole(StatusCode::CREATED, object.json.clone()))
        }
        Verb::Update => {
            let object: K = parse(body)?;
            if object.meta().name.as_deref() != Some(&key.1) {
                let message = "the name of the object does not match the name on the URL";
                return Err(status::bad_request(message));
            }
            written(write::replace(&mut store, &key, object, part)?)
        }
        Verb::Patch if content == MERGE => {
            written(write::merge::<K>(&mut store, &key, parse(body)?, part)?)
        }
        Verb::Patch if content == APPLY => {
            let value: Value = serde_saphyr::from_slice(body)
                .map_err(|error| status::bad_request(format!("error decoding YAML: {error}")))?;
            if store.table(K::RESOURCE).objects.contains_key(&key) {
                return written(write::merge::<K>(&mut store, &key, value, part)?);
            }
            let mut object: K = serde_json::from_value(value)
                .map_err(|error| status::bad_request(format!("error decoding: {error}")))?;
            object.meta_mut().name = Some(key.1);
            let object = write::create(&mut store, target.namespace.as_deref(), object, part)?;
            Ok(whole(StatusCode::CREATED, object.json.clone()))
        }
        Verb::Patch => Err(status::unsupported(&format!("{MERGE}, {APPLY}"))),
        Verb::Delete => {
            let mut options: DeleteOptions =
                if body.is_empty() { DeleteOptions::default() } else { parse(body)? };
            let grace = parameters.number("gracePeriodSeconds")?;
            let grace = grace.and_then(|seconds| i64::try_from(seconds).ok());
            options.grace_period_seconds = options.grace_period_seconds.or(grace);
            deleted::<K>(write::delete::<K>(&mut store, &key, &options)?)
        }
        _ => written(Arc::clone(store.find(K::RESOURCE, &key)?)),
    }
}

fn deleted<K: Kind>(outcome: Deleted) -> Result<Response<Body>, Refusal> {
    match outcome {
        Deleted::Gone(object) if !K::RETURNED_WHEN_DELETED => {
            let resource: Resource = K::RESOURCE;
            let done = Status {
                status: Some("Success".into()),
                details: Some(StatusDetails {
                    group: Some(resource.group()).filter(|group| !group.is_empty()),
                    kind: Some(resource.plural()),
                    name: Some(object.name.clone()),
                    uid: Some(object.uid.clone()),
                    ..StatusDetails::default()
                }),
                ..Status::default()
            };
            Ok(whole(StatusCode::OK, text(&done)))
        }
        Deleted::Gone(object) | Deleted::Asked(object) => {
            Ok(whole(StatusCode::OK, object.json.clone()))
        }
    }
}

fn parse<T: k8s_openapi::serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| status::bad_request(format!("the body cannot be decoded: {error}")))
}

fn text(status: &Status) -> String {
    serde_json::to_string(status).expect("a Status can be written")
}

fn code_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a fault has a code of HTTP's")
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let code = refusal.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let mut response = whole(code_of(code), text(refusal));
    let after = refusal.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An answer of one piece.
pub(super) fn whole(code: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(plain(body)).map_err(|never| match never {});
    json(code, body.boxed_unsync())
}

fn json(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let value = header::HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value("application/json"));
    headers.insert(header::CACHE_CONTROL, value("no-cache, private"));
    response
}
