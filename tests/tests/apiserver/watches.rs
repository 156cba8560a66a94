//! Watches, by `kube`'s watcher, which lists, watches, resumes and lists again by itself.

use std::{pin::Pin, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, ResourceExt as _,
    api::{WatchEvent, WatchParams},
    runtime::watcher::{self, Event, watcher},
};
use lab::apiserver::{Double, Ending, Options, Resource, Verb};

use super::{labelled, named, refused, service, with};

/// What a watcher tells.
pub(crate) type Told = Pin<Box<dyn Stream<Item = watcher::Result<Event<Service>>> + Send>>;

/// A watcher of all Services.
pub(crate) fn follow(client: &Client, config: watcher::Config) -> Told {
    Box::pin(watcher(Api::all(client.clone()), config))
}

/// `(web)` for what is there in the beginning, `+web` and `-web` for what comes and goes.
fn words(event: &Event<Service>) -> String {
    match event {
        Event::Init => "init".into(),
        Event::InitApply(object) => format!("({})", object.name_any()),
        Event::InitDone => "done".into(),
        Event::Apply(object) => format!("+{}", object.name_any()),
        Event::Delete(object) => format!("-{}", object.name_any()),
    }
}

/// The next events, without errors.
pub(crate) async fn next(told: &mut Told, count: usize) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(words(&told.try_next().await?.context("a watcher has no end")?));
    }
    Ok(seen)
}

/// The next event, whatever errors come before it.
pub(crate) async fn after_errors(told: &mut Told) -> Result<String> {
    loop {
        match told.next().await.context("a watcher has no end")? {
            Ok(event) => return Ok(words(&event)),
            // The listener may be closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The next error.
pub(crate) async fn error(told: &mut Told) -> Result<watcher::Error> {
    match told.next().await.context("a watcher has no end")? {
        Ok(event) => bail!("no error, but {}", words(&event)),
        Err(error) => Ok(error),
    }
}

/// A watcher that has been told everything, and watches.
pub(crate) async fn settled(server: &Double, client: &Client) -> Result<Told> {
    let mut told = follow(client, watcher::Config::default());
    assert_eq!(next(&mut told, 3).await?, ["init", "(kubernetes)", "done"]);
    server.apply(service("first"))?;
    assert_eq!(next(&mut told, 1).await?, ["+first"]);
    Ok(told)
}

fn lists(server: &Double) -> usize {
    server.count(Verb::List, Resource::Services)
}

#[test]
fn a_watcher_lists_and_follows() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        server.apply(labelled("first", &[("app", "web")]))?;
        server.apply(service("second"))?;
        server.remove::<Service>("default", "first")?;
        assert_eq!(next(&mut told, 3).await?, ["+first", "+second", "-first"]);
        assert_eq!(lists(&server), 1);
        assert_eq!(server.count(Verb::Watch, Resource::Services), 1);
        assert_eq!(server.watches(Resource::Services), 1);
        Ok(())
    });
}

#[test]
fn a_watch_is_resumed_where_it_was() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        server.end_watches(Resource::Services);
        server.apply(service("second"))?;
        assert_eq!(next(&mut told, 1).await?, ["+second"]);
        for (name, ending) in [("third", Ending::Reset), ("fourth", Ending::Orderly)] {
            server.close()?;
            server.hang_up(ending);
            server.apply(service(name))?;
            server.open()?;
            assert_eq!(after_errors(&mut told).await?, format!("+{name}"));
        }
        assert_eq!(lists(&server), 1);
        Ok(())
    });
}

#[test]
fn a_forgotten_version_is_told_by_an_event() {
    with(Options::default(), async |server, client| {
        let mut told = settled(&server, &client).await?;
        server.close()?;
        server.hang_up(Ending::Reset);
        server.remove::<Service>("default", "first")?;
        server.apply(service("second"))?;
        server.compact();
        server.open()?;
        let refusal = loop {
            match error(&mut told).await? {
                watcher::Error::WatchError(status) => break status,
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!((refusal.code, refusal.reason.as_str()), (410, "Expired"));
        assert_eq!(next(&mut told, 4).await?, ["init", "(kubernetes)", "(second)", "done"]);
        assert_eq!(lists(&server), 2);
        // An open watch can be told too.
        server.apply(service("third"))?;
        assert_eq!(next(&mut told, 1).await?, ["+third"]);
        server.expire_watches(Resource::Services);
        assert!(matches!(error(&mut told).await?, watcher::Error::WatchError(_)));
        assert_eq!(next(&mut told, 1).await?, ["init"]);
        Ok(())
    });
}

#[test]
fn a_forgotten_version_is_told_by_http() {
    with(Options { gone_by_http: true, ..Options::default() }, async |server, client| {
        let api: Api<Service> = Api::all(client);
        let from = server.version().to_string();
        server.apply(service("first"))?;
        drop(api.watch(&WatchParams::default(), &from).await?);
        server.compact();
        let outcome = api.watch(&WatchParams::default(), &from).await;
        refused(outcome.map(drop), 410, "Expired")?;
        Ok(())
    });
}

#[test]
fn history_is_bounded() {
    with(Options { history: 3, ..Options::default() }, async |server, client| {
        let from = server.version().to_string();
        let api: Api<Service> = Api::all(client);
        for name in ["a", "b", "c"] {
            server.apply(service(name))?;
        }
        let first = async || {
            let mut events = api.watch(&WatchParams::default(), &from).await?.boxed();
            Ok::<_, anyhow::Error>(events.try_next().await?)
        };
        assert!(matches!(first().await?, Some(WatchEvent::Added(it)) if it.name_any() == "a"));
        server.apply(service("d"))?;
        assert!(matches!(first().await?, Some(WatchEvent::Error(status)) if status.code == 410));
        Ok(())
    });
}

#[test]
fn who_enters_a_selection_is_added_and_who_leaves_it_deleted() {
    with(Options::default(), async |server, client| {
        let api: Api<Service> = Api::all(client);
        let from = server.version().to_string();
        let events = api.watch(&WatchParams::default().labels("app=web"), &from).await?;
        server.apply(service("web"))?;
        server.apply(labelled("web", &[("app", "web")]))?;
        server.apply(labelled("web", &[("app", "web"), ("tier", "front")]))?;
        let left = server.apply(labelled("web", &[("app", "api")]))?;
        server.apply(labelled("other", &[("app", "web")]))?;
        let gone = server.remove::<Service>("default", "other")?;
        let events: Vec<_> = events.take(5).try_collect().await?;
        let [
            WatchEvent::Added(_),
            WatchEvent::Modified(_),
            WatchEvent::Deleted(first),
            WatchEvent::Added(_),
            WatchEvent::Deleted(second),
        ] = &events[..]
        else {
            bail!("{events:?}");
        };
        // What was seen last, as of when it left.
        assert_eq!(first.labels()["tier"], "front");
        assert_eq!(first.resource_version(), Some(left.to_string()));
        assert_eq!(second.resource_version(), Some(gone.to_string()));
        Ok(())
    });
}

#[test]
fn an_idle_watch_gets_bookmarks_and_is_resumed_from_them() {
    let options = Options { bookmarks: Duration::from_millis(5), ..Options::default() };
    with(options, async |server, client| {
        // Nothing but a bookmark can tell the watcher of a version that is not forgotten.
        let mut told = settled(&server, &client).await?;
        let pods: Api<Pod> = Api::all(client);
        let from = server.version().to_string();
        server.apply(Pod { metadata: named("web-1"), ..Pod::default() })?;
        let mut events = pods.watch(&WatchParams::default(), &from).await?.boxed();
        assert!(matches!(events.try_next().await?, Some(WatchEvent::Added(_))));
        let Some(WatchEvent::Bookmark(bookmark)) = events.try_next().await? else {
            bail!("no bookmark");
        };
        assert_eq!(bookmark.metadata.resource_version, server.version().to_string());
        assert!(bookmark.metadata.annotations.is_empty());

        server.compact();
        let current = server.version();
        loop {
            // Its watch goes on while it is polled, with nothing to tell.
            let _ = tokio::time::timeout(Duration::from_millis(20), told.next()).await;
            server.forget_asked();
            server.end_watches(Resource::Services);
            let _ = tokio::time::timeout(Duration::from_millis(20), told.next()).await;
            let asked = server.asked();
            let from = asked.iter().rfind(|asked| asked.verb == Verb::Watch);
            let from = from.and_then(|asked| asked.parameters.get("resourceVersion"));
            if from.is_some_and(|version| version.parse() == Ok(current)) {
                break;
            }
        }
        server.apply(service("second"))?;
        assert_eq!(next(&mut told, 1).await?, ["+second"]);
        Ok(())
    });
}

#[test]
fn a_streaming_list_needs_no_list() {
    with(Options::default(), async |server, client| {
        let mut told = follow(&client, watcher::Config::default().streaming_lists());
        assert_eq!(next(&mut told, 3).await?, ["init", "(kubernetes)", "done"]);
        server.apply(service("web"))?;
        assert_eq!(next(&mut told, 1).await?, ["+web"]);
        assert_eq!((lists(&server), server.count(Verb::Watch, Resource::Services)), (0, 1));
        Ok(())
    });
}

#[test]
fn a_server_without_streaming_lists_says_so() {
    with(Options { streaming_lists: false, ..Options::default() }, async |_server, client| {
        let mut told = follow(&client, watcher::Config::default().streaming_lists());
        let refusal = match error(&mut told).await? {
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
            other => bail!("{other:?}"),
        };
        assert_eq!((refusal.code, refusal.reason.as_str()), (422, "Invalid"));
        assert!(refusal.message.contains("sendInitialEvents: Forbidden"), "{}", refusal.message);
        Ok(())
    });
}

#[test]
fn a_watch_ends_at_its_timeout_and_begins_with_what_is_there() {
    with(Options::default(), async |server, client| {
        server.apply(service("web"))?;
        let api: Api<Service> = Api::all(client);
        let events = api.watch(&WatchParams::default().timeout(1), "0").await?;
        let events: Vec<_> = events.try_collect().await?;
        let [WatchEvent::Added(first), WatchEvent::Added(second)] = &events[..] else {
            bail!("{events:?}");
        };
        assert_eq!([first.name_any(), second.name_any()], ["kubernetes", "web"]);
        Ok(())
    });
}
