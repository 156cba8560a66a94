//! Grace periods by hand.
//!
//! Must never end one that nobody ended: what is freed too early has to show.

use std::{cell::Cell, rc::Rc};

use crate::publish::{Grace, GraceError};

/// Grace periods that end when the test says so, or when the publisher has to wait for one.
#[derive(Clone, Default)]
pub struct Manual {
    /// One was started and has not ended.
    pub under_way: Rc<Cell<bool>>,
    /// The one under way ends when the publisher asks next.
    pub over: Rc<Cell<bool>>,
}

impl Grace for Manual {
    fn start(&mut self) -> Result<(), GraceError> {
        assert!(!self.under_way.replace(true), "one at a time");
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, GraceError> {
        let over = self.over.replace(false);
        if over {
            self.under_way.set(false);
        }
        Ok(over)
    }

    fn wait(&mut self) -> Result<(), GraceError> {
        assert!(self.under_way.replace(false));
        self.over.set(false);
        Ok(())
    }
}
