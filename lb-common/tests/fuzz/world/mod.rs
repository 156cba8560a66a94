//! A world that bytes describe: tables of both families with any contents, what clients are
//! remembered of, switches, and a sequence of connects and datagrams while all of that changes.
//!
//! The same description is filled by `cargo fuzz`, by the properties, and from the kept corpus; see
//! docs/testing.md. Running a world must never fail but where `lb_common` breaks a promise.
//!
//! ```text
//!  bytes ── arbitrary ──> World ── machine ──> log of loads, selections ── rules ──> panic or not
//!                                                                       └─ reference, if all is still
//! ```

mod family;
mod loads;
mod machine;
pub(crate) mod origins;
mod reference;
mod rules;
mod seen;
mod sender;
mod spec;

use arbitrary::{Arbitrary, Unstructured};
use lb_common::{Earlier, Selection, Tables, V4, V6, select};

pub(crate) use self::spec::*;
use self::{
    family::{Destination, Sample},
    machine::Machine,
    sender::Sender,
};

/// Operations that one world is run for: enough for sixteen peers and some more.
const STEPS: usize = 64;

/// What bytes describe: anything that derives how.
pub(crate) fn decode<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> T {
    T::arbitrary_take_rest(Unstructured::new(bytes)).expect("bytes that end are followed by zeros")
}

/// Runs the world.
///
/// # Panics
///
/// If `lb_common` breaks a promise.
pub(crate) fn run(world: &World) {
    let machine = Machine::new(world);
    let mut sender = Sender::default();
    for step in world.steps.iter().take(STEPS) {
        match step {
            Step::Connect(request) if request.six => connect::<V6>(&machine, request),
            Step::Connect(request) => connect::<V4>(&machine, request),
            Step::Send(request) if request.six => sender.send::<V6>(&machine, request),
            Step::Send(request) => sender.send::<V4>(&machine, request),
            Step::Change(change) => machine.change(change),
        }
    }
}

fn connect<F: Sample>(machine: &Machine, request: &Request)
where
    Machine: Tables<F>,
{
    let earlier = request.earlier.map(|(backend, hint)| (backend.get(), hint.get()));
    let earlier = earlier.map(|(backend, hint)| Earlier { backend, hint });
    let asked = machine.start::<F>(request);
    selection::<F>(machine, &asked, earlier);
}

/// One selection, checked.
fn selection<F: Sample>(
    machine: &Machine,
    asked: &Destination,
    earlier: Option<Earlier>,
) -> Selection<F::Backend>
where
    Machine: Tables<F>,
{
    let expected = machine.is_still().then(|| reference::selection::<F>(machine, asked, earlier));
    let selection = select::<F, _, _>(machine, machine, &F::key(asked), earlier);
    let plain = family::plain::<F>(&selection);
    rules::check::<F>(&machine.log(), asked, earlier, &plain);
    if let Some(expected) = expected {
        expected.check(machine, &plain);
    }
    selection
}
