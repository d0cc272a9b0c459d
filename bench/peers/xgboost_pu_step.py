# The two-step loop around XGBoost's scikit-style fit, which bins the rows anew each round; prints one JSON line.
# usage: xgboost_pu_step.py FOLDER ROWS FEATURES THREADS ROUNDS TREES
# FOLDER holds columns.f32, and known.f32 with 1 for known positives.
import json
import sys
import time

import numpy as np
import xgboost

folder, (rows, features, threads, rounds, trees) = sys.argv[1], map(int, sys.argv[2:])
x = np.ascontiguousarray(np.fromfile(folder + '/columns.f32', np.float32).reshape(features, rows).T)
known = np.fromfile(folder + '/known.f32', np.float32) == 1
spies = np.random.default_rng(1).choice(np.flatnonzero(known), max(1, round(0.15 * known.sum())), replace=False)
begun = time.perf_counter()


def fit(targets):
    model = xgboost.XGBRegressor(
        objective='reg:logistic', n_estimators=trees, learning_rate=0.1, max_leaves=31, max_depth=0, max_bin=255,
        grow_policy='lossguide', tree_method='hist', reg_lambda=0, min_child_weight=1e-3, n_jobs=threads)
    model.fit(x, targets)
    return model.predict(x)


positive = known.copy()
positive[spies] = False
scores = np.zeros(rows, np.float32)
for _ in range(rounds):
    scores = fit(np.where(positive, np.float32(1), np.clip(scores, 0, 1)))
negative = ~known & (scores < np.quantile(scores[spies], 0.1))
for _ in range(rounds):
    scores = fit(np.where(known, np.float32(1), np.where(negative, np.float32(0), np.clip(scores, 0, 1))))
print(json.dumps({'version': xgboost.__version__, 'seconds': time.perf_counter() - begun}))
