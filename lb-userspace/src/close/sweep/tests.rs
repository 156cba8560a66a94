//! Which sockets a sweep closes, and what it costs, on a node of plain memory.

use super::{
    super::{
        fake::{FakeNode, socket},
        stale::tests::{origin, stale},
    },
    *,
};

/// A socket in the namespace with this cookie.
fn stale_in(netns: u64, socket: u64, backend: &str) -> Stale {
    Stale::new(&origin(socket, netns, UDP, 1, backend)).unwrap()
}

fn cookies(stale: &[Stale]) -> Vec<u64> {
    let mut cookies: Vec<_> = stale.iter().map(|stale| stale.socket).collect();
    cookies.sort_unstable();
    cookies
}

const POD: &str = "10.244.0.9:53";
const MAPPED: &str = "[::ffff:10.244.0.9]:53";
const POD6: &str = "[fd00::9]:53";

#[test]
fn point_22_closes_sockets_of_both_families_and_protocols() {
    let mut node = FakeNode::default().with(
        1,
        vec![
            socket(11, Family::Inet, UDP, POD),
            socket(12, Family::Inet6, UDP, MAPPED),
            socket(13, Family::Inet6, UDP, POD6),
            socket(14, Family::Inet, TCP, POD),
            socket(15, Family::Inet6, TCP, MAPPED),
            socket(16, Family::Inet6, TCP, POD6),
        ],
    );
    let all = [
        stale(11, UDP, 1, POD),
        stale(12, UDP, 1, POD),
        stale(13, UDP, 1, POD6),
        stale(14, TCP, 1, POD),
        stale(15, TCP, 1, POD),
        stale(16, TCP, 1, POD6),
    ];
    let swept = sweep(&mut node, all.to_vec(), false);
    assert_eq!(node.destroyed(), [11, 12, 13, 14, 15, 16]);
    assert_eq!(cookies(&swept.closed), [11, 12, 13, 14, 15, 16]);
    assert!(swept.left.is_empty() && swept.lost.is_empty() && swept.errors.is_empty());
}

#[test]
fn point_22_leaves_a_socket_with_another_peer_cookie_or_protocol() {
    let mut node = FakeNode::default().with(
        1,
        vec![
            socket(11, Family::Inet, UDP, "10.244.0.8:53"),
            socket(12, Family::Inet, UDP, "10.244.0.9:54"),
            socket(13, Family::Inet, TCP, POD),
            // Connected by itself, without an origin.
            socket(99, Family::Inet, UDP, POD),
        ],
    );
    let all = [11, 12, 13, 14].map(|socket| stale(socket, UDP, 1, POD));
    let swept = sweep(&mut node, all.to_vec(), false);
    assert!(node.destroyed().is_empty());
    assert_eq!(cookies(&swept.left), [11, 12, 13, 14]);
}

#[test]
fn only_affected_namespaces_are_listed_each_once_for_family_and_protocol() {
    let many =
        |first| (first..first + 400).map(|cookie| socket(cookie, Family::Inet, UDP, POD)).collect();
    let mut node = FakeNode::default()
        .with(1, many(1000))
        .with(2, many(2000))
        .with(3, many(3000))
        .with(4, vec![socket(4000, Family::Inet6, UDP, POD6)]);
    let mut all: Vec<_> = (1000..1400).map(|socket| stale_in(1, socket, POD)).collect();
    all.extend((3000..3400).map(|socket| stale_in(3, socket, POD)));
    all.push(stale_in(4, 4000, POD6));
    let swept = sweep(&mut node, all, false);
    assert_eq!(swept.closed.len(), 801);
    // Once all of a namespace are found, the second family needs no look.
    let lists = [(1, UDP, Family::Inet), (3, UDP, Family::Inet), (4, UDP, Family::Inet6)];
    assert_eq!(node.lists(), lists);
    assert_eq!(node.state.borrow().searches, [Search::Usual]);
}

#[test]
fn nothing_stale_asks_nothing_of_the_node() {
    let mut node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, POD)]);
    sweep(&mut node, Vec::new(), true);
    assert!(node.state.borrow().searches.is_empty());
}

#[test]
fn without_namespace_cookies_all_namespaces_are_listed_until_everything_is_found() {
    let mut node = FakeNode::default()
        .with(1, vec![socket(11, Family::Inet, UDP, POD)])
        .with(2, vec![socket(99, Family::Inet, UDP, POD)])
        .with(3, vec![socket(13, Family::Inet6, UDP, POD6)])
        .with(4, vec![socket(98, Family::Inet6, UDP, POD6)]);
    node.state.borrow_mut().without_cookies = true;
    let all = vec![stale_in(1, 11, POD), stale_in(3, 13, POD6)];
    let swept = sweep(&mut node, all, false);
    assert_eq!(node.destroyed(), [11, 13]);
    assert!(swept.left.is_empty());
    assert!(node.lists().iter().all(|&(namespace, ..)| namespace != 4), "all were found by then");
}

#[test]
fn a_hidden_namespace_is_searched_for_only_in_a_thorough_sweep() {
    for without_cookies in [false, true] {
        let mut node = FakeNode::default()
            .with(1, vec![socket(11, Family::Inet, UDP, POD)])
            .with(2, vec![socket(12, Family::Inet, UDP, POD)]);
        node.state.borrow_mut().without_cookies = without_cookies;
        node.state.borrow_mut().namespaces[1].hidden = true;
        let all = vec![stale_in(1, 11, POD), stale_in(2, 12, POD)];
        let swept = sweep(&mut node, all, false);
        assert_eq!((cookies(&swept.closed), cookies(&swept.left)), (vec![11], vec![12]));
        let swept = sweep(&mut node, swept.left, true);
        assert_eq!(cookies(&swept.closed), [12], "without cookies: {without_cookies}");
        let searches = [Search::Usual, Search::Usual, Search::Everywhere];
        assert_eq!(node.state.borrow().searches, searches);
    }
}

#[test]
fn what_was_found_at_once_needs_no_thorough_search() {
    let mut node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, POD)]);
    let swept = sweep(&mut node, vec![stale_in(1, 11, POD), stale_in(1, 12, POD)], true);
    assert_eq!((cookies(&swept.closed), cookies(&swept.left)), (vec![11], vec![12]));
    assert_eq!(node.state.borrow().searches, [Search::Usual], "12 can only be in namespace 1");
}

#[test]
fn a_kernel_that_closes_no_sockets_is_asked_once() {
    let sockets = [11, 12, 13].map(|cookie| socket(cookie, Family::Inet, UDP, POD));
    let mut node = FakeNode::default().with(1, sockets.to_vec());
    node.state.borrow_mut().destroy_error = Some(libc::EOPNOTSUPP);
    let all = [11, 12, 13].map(|socket| stale(socket, UDP, 1, POD));
    let swept = sweep(&mut node, all.to_vec(), false);
    assert_eq!(cookies(&swept.lost), [11, 12, 13]);
    assert!(matches!(swept.errors[..], [CloseError::NoDestroy]), "{:?}", swept.errors);
    assert_eq!(node.state.borrow().refused, 1);
}

#[test]
fn a_socket_that_went_meanwhile_is_no_error() {
    let mut node = FakeNode::default().with(1, vec![socket(11, Family::Inet, UDP, POD)]);
    node.state.borrow_mut().destroy_error = Some(libc::ENOENT);
    let swept = sweep(&mut node, vec![stale(11, UDP, 1, POD)], false);
    assert_eq!(cookies(&swept.left), [11]);
    assert!(swept.errors.is_empty(), "{:?}", swept.errors);
}

#[test]
fn any_number_that_share_all_addresses_are_closed_at_once() {
    // The kernel finds the last of them, the list begins with the first.
    let sockets = (11..19).map(|cookie| {
        let mut socket = socket(cookie, Family::Inet6, UDP, POD);
        socket.id.source_port = 4000;
        socket
    });
    let mut node = FakeNode::default().with(1, sockets.collect());
    let all = (11..19).map(|socket| stale(socket, UDP, 1, POD)).collect();
    let swept = sweep(&mut node, all, false);
    assert_eq!(node.destroyed(), (11..19).collect::<Vec<_>>());
    assert!(swept.left.is_empty() && swept.errors.is_empty());
    assert_eq!(node.lists().len(), 2, "listed once for each family");
}

#[test]
fn a_refused_closing_is_reported_once_for_a_namespace() {
    let sockets = [11, 12].map(|cookie| socket(cookie, Family::Inet, UDP, POD));
    let mut node = FakeNode::default().with(1, sockets.to_vec());
    node.state.borrow_mut().destroy_error = Some(libc::EPERM);
    let all = [11, 12].map(|socket| stale(socket, UDP, 1, POD));
    let swept = sweep(&mut node, all.to_vec(), false);
    assert_eq!(cookies(&swept.left), [11, 12]);
    assert!(matches!(swept.errors[..], [CloseError::Destroy { .. }]), "{:?}", swept.errors);
}

#[test]
fn one_protocol_is_closed_although_the_kernel_cannot_list_the_other() {
    let sockets = vec![socket(11, Family::Inet, UDP, POD), socket(12, Family::Inet, TCP, POD)];
    for (error, lost, unread) in
        [(libc::ENOENT, vec![11], vec![]), (libc::ENOMEM, vec![], vec![11])]
    {
        let mut node = FakeNode::default().with(1, sockets.clone());
        node.state.borrow_mut().list_error = Some((UDP, error));
        let all = vec![stale(11, UDP, 1, POD), stale(12, TCP, 1, POD)];
        let swept = sweep(&mut node, all, false);
        assert_eq!(cookies(&swept.closed), [12]);
        assert_eq!((cookies(&swept.lost), cookies(&swept.unread)), (lost, unread));
        assert!(swept.left.is_empty());
        match &swept.errors[..] {
            [CloseError::NoList { protocol: "UDP" }] => assert_eq!(error, libc::ENOENT),
            [CloseError::List { protocol: "UDP", .. }] => assert_eq!(error, libc::ENOMEM),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_not_there() {
    for without_cookies in [false, true] {
        let sockets = |cookie| vec![socket(cookie, Family::Inet, UDP, POD)];
        let mut node =
            FakeNode::default().with(1, vec![]).with(2, sockets(12)).with(3, sockets(13));
        node.state.borrow_mut().without_cookies = without_cookies;
        node.state.borrow_mut().open_error = Some((2, libc::EMFILE));
        let all = vec![stale_in(1, 11, POD), stale_in(2, 12, POD), stale_in(3, 13, POD)];
        let swept = sweep(&mut node, all, false);
        assert_eq!(cookies(&swept.closed), [13], "one namespace stands for no other");
        let told = (cookies(&swept.left), cookies(&swept.unread));
        // Without cookies 11 may be where nobody could look.
        let expected = if without_cookies { (vec![], vec![11, 12]) } else { (vec![11], vec![12]) };
        assert_eq!(told, expected, "without cookies: {without_cookies}");
    }
}

#[test]
fn a_search_that_breaks_off_says_nothing_of_hidden_namespaces() {
    let mut node = FakeNode::default().with(1, vec![]);
    node.state.borrow_mut().search_error = Some((Search::Everywhere, libc::EMFILE));
    let swept = sweep(&mut node, vec![stale_in(1, 11, POD), stale_in(2, 12, POD)], true);
    assert_eq!((cookies(&swept.left), cookies(&swept.unread)), (vec![11], vec![12]));
    assert!(matches!(swept.errors[..], [CloseError::Namespace(_)]), "{:?}", swept.errors);
}
