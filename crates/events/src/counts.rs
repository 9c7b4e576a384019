//! What mappings did: AWS's group of metrics `EventCount`, since the server began and for CloudWatch.

use std::sync::atomic::{AtomicU64, Ordering};

use gatemill_meter::{Metric, Subject, Unit};

/// One of the counts, and the metric that it is.
#[derive(Debug)]
pub(crate) struct Count {
    number: AtomicU64,
    metric: &'static Metric,
}

macro_rules! counts {
    ($($(#[$note:meta])* $name:ident $metric:literal,)*) => {
        /// The counts of one mapping, or of all together.
        #[derive(Debug)]
        pub(crate) struct Counts {
            $(pub(crate) $name: Count,)*
        }

        impl Default for Counts {
            fn default() -> Self {
                Self {
                    $($name: {
                        static METRIC: Metric = Metric { name: $metric, unit: Unit::Count };
                        Count { number: AtomicU64::new(0), metric: &METRIC }
                    },)*
                }
            }
        }

        impl Counts {
            pub(crate) fn read(&self) -> EventCounts {
                EventCounts { $($name: self.$name.number.load(Ordering::Relaxed),)* }
            }
        }

        /// A reading of the counts, by the names of AWS's metrics.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct EventCounts {
            $($(#[$note])* pub $name: u64,)*
        }
    };
}

counts! {
    /// `PolledEventCount`: records that were read.
    polled "PolledEventCount",
    /// `FilteredOutEventCount`: records that no filter let pass.
    filtered_out "FilteredOutEventCount",
    /// `InvokedEventCount`: records that functions were called with, each time anew.
    invoked "InvokedEventCount",
    /// `FailedInvokeEventCount`: those that failed.
    failed_invoke "FailedInvokeEventCount",
    /// `DroppedEventCount`: records that were given up.
    dropped "DroppedEventCount",
    /// `OnFailureDestinationDeliveredEventCount`: those that a destination was told of.
    on_failure_delivered "OnFailureDestinationDeliveredEventCount",
    /// `DeletedEventCount`: messages that were removed from their queue.
    deleted "DeletedEventCount",
}

impl Count {
    /// Adds to it, and says as which metric.
    pub(crate) fn add(&self, number: usize) -> &'static Metric {
        self.number.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.metric
    }
}

/// As what a mapping is measured.
pub(crate) fn subject(account: &str, region: &str, uuid: &str) -> Subject {
    Subject {
        account: account.to_owned(),
        region: region.to_owned(),
        namespace: "AWS/Lambda",
        dimensions: vec![("EventSourceMappingUUID", uuid.to_owned())],
        levels: &[1],
    }
}
