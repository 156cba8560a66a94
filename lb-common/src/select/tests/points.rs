//! Which backend a client gets, and who gets none; numbers in names are those of docs/semantics.md.

use super::*;

/// Backends with the ids 100 to 109 in slot 0, of a Service port with the id 5.
fn ten(affinity: u32) -> Any {
    Any {
        values: [FrontendValue { slot: 0, tag: KEY.tag() }.to_bits()].into(),
        ranges: [Range { first: 0, count: 10 }.to_bits()].into(),
        identities: [(5, affinity)].into(),
        tag: KEY.tag(),
        first_id: 100,
        backends: 10,
        ..Any::default()
    }
}

fn id(selection: Selection<Backend4>) -> u32 {
    match selection {
        Selection::Backend(selected) => selected.backend.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn point_15_a_client_stays_until_it_has_been_idle_for_too_long() {
    let (tables, client) = (ten(60), Someone::default());
    let connect = |second, random: u32| {
        client.now.set(second * SECOND);
        client.random.set(random);
        id(select(&tables, &client, &KEY, None))
    };
    assert_eq!(connect(1, 0), 100);
    assert_eq!(connect(61, u32::MAX), 100);
    // Each connect counts, not the first alone.
    assert_eq!(connect(121, u32::MAX), 100);
    // Another CPU's clock may be a little behind.
    assert_eq!(connect(120, u32::MAX), 100);
    assert_eq!(connect(300, u32::MAX), 109);
    assert_eq!(connect(301, 0), 109);
}

#[test]
fn point_15_a_client_never_stays_with_a_backend_that_is_gone() {
    let client = Someone::default();
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 100);
    let mut fewer = ten(60);
    fewer.first_id = 101;
    assert_eq!(id(select(&fewer, &client, &KEY, None)), 101);
    // Back again, but not chosen any more.
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 101);
}

#[test]
fn point_15_the_faster_of_two_first_connects_decides() {
    let faster = Affinity { used: 0, backend: 107, hint: 3 };
    let client = Someone { faster: Some(faster).into(), ..Someone::default() };
    assert_eq!(id(select(&ten(60), &client, &KEY, None)), 107);
}

#[test]
fn point_21_an_earlier_backend_goes_before_all() {
    let client = Someone::default();
    let earlier = Some(Earlier { backend: 104, hint: 9 });
    assert_eq!(id(select(&ten(0), &client, &KEY, earlier)), 104);
    let gone = Some(Earlier { backend: 99, hint: 0 });
    assert_eq!(id(select(&ten(0), &client, &KEY, gone)), 100);
}

#[test]
fn point_21_further_datagrams_stay_while_the_slot_is_the_frontends() {
    let client = Someone::default();
    let earlier = Earlier { backend: 104, hint: 9 };
    let mut tables = ten(0);
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), Some(4));
    assert_eq!(tables.lookups.get(), 0, "the key is not looked up");
    let gone = Earlier { backend: 99, ..earlier };
    assert_eq!(stays(&tables, &client, &KEY, 0, gone), None);
    assert_eq!(stays(&tables, &client, &KEY, 7, earlier), None, "outside of the table");
    tables.flags = HOST_ONLY;
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), None);
    tables.flags = 0;
    let other = FrontendKey4 { port: KEY.port + 1, ..KEY };
    assert_eq!(stays(&tables, &client, &other, 0, earlier), None, "another frontend's slot");
    tables.ranges[0] = Range::GONE.to_bits();
    assert_eq!(stays(&tables, &client, &KEY, 0, earlier), None);
}

#[test]
fn point_16_a_host_only_frontend_is_none_for_pods() {
    let mut tables = ten(0);
    tables.flags = HOST_ONLY;
    let pod = Someone::default();
    assert_eq!(select(&tables, &pod, &KEY, None), Selection::NotAFrontend);
    let host = Someone { host: true, ..pod };
    assert_eq!(id(select(&tables, &host, &KEY, None)), 100);
}

#[test]
fn clients_that_are_opted_out_or_out_of_scope_are_left_alone() {
    let opted_out = Someone {
        opted_out: true,
        switches: Switches { opt_outs: true, refuse: true, cidr_count4: 1, ..Switches::default() },
        ..Someone::default()
    };
    assert_eq!(select(&ten(0), &opted_out, &KEY, None), Selection::NotAFrontend);
    assert_eq!(select(&Any::default(), &opted_out, &KEY, None), Selection::NotAFrontend);
    let out_of_scope = Someone {
        switches: Switches { host_scope: true, ..Switches::default() },
        ..Someone::default()
    };
    assert_eq!(select(&ten(0), &out_of_scope, &KEY, None), Selection::NotAFrontend);
    assert_eq!(id(select(&ten(0), &Someone { host: true, ..out_of_scope }, &KEY, None)), 100);
}

#[test]
fn point_28_the_agents_own_sockets_are_left_alone() {
    let switches = Switches { refuse: true, cidr_count4: 1, ..Switches::default() };
    let agent = Someone { is_the_agents: true, switches, ..Someone::default() };
    assert_eq!(select(&ten(0), &agent, &KEY, None), Selection::NotAFrontend);
    assert_eq!(select(&Any::default(), &agent, &KEY, None), Selection::NotAFrontend);
    let mut empty = ten(0);
    empty.ranges = [Range::EMPTY.to_bits()].into();
    assert_eq!(select(&empty, &agent, &KEY, None), Selection::NotAFrontend);
}

#[test]
fn point_18_what_no_service_has_is_refused_inside_of_the_service_network() {
    let switches = Switches { refuse: true, cidr_count4: 1, ..Switches::default() };
    let client = Someone { switches, ..Someone::default() };
    assert_eq!(select(&Any::default(), &client, &KEY, None), Selection::Unserved);
    let outside = FrontendKey4::new([10, 97, 0, 1], 80, 6);
    assert_eq!(select(&Any::default(), &client, &outside, None), Selection::NotAFrontend);
    let mut gone = ten(0);
    gone.ranges = [Range::GONE.to_bits()].into();
    assert_eq!(select(&gone, &client, &KEY, None), Selection::Unserved);
    gone.ranges = [Range::PASS.to_bits()].into();
    assert_eq!(select(&gone, &client, &KEY, None), Selection::NotAFrontend);
}
