//! The limits of what is kept in memory.

/// Subjects and minutes that one lane holds between two collections: some 100 MB at the very worst.
pub const LANE_SUBJECTS_MAX: usize = 50_000;
/// Stages that one request may pass; further ones are not told apart.
pub const STAGES_MAX: usize = 10;
/// The least value above zero that a [`Sketch`](crate::Sketch) tells apart, a millionth; lesser ones count as it.
pub const SIZE_MIN: f64 = 1.0 / 1_048_576.0;
/// The largest value that it tells apart, ten to the fifteenth; larger ones count as it.
pub const SIZE_MAX: f64 = 1_125_899_906_842_624.0;
