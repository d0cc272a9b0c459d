// What only an unfinished run has in its folder, beside a checkpoint.

/** The parts of its cross-validation that are done. */
export const CROSS = 'cross.json'

/** The folds that are scored. */
export const FOLDS = 'folds.json'

/** A folder with the run of the fold that is under way, in one named by the fold. */
export const FOLD_RUNS = 'folds'
