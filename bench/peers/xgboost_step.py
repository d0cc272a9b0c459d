# XGBoost from the system's packages: reads columns and labels of float32, trains, prints one JSON line per run.
# usage: xgboost_step.py FOLDER TRAIN_ROWS TEST_ROWS FEATURES THREADS DEPTH LEAVES TREES
import json
import sys
import time

import numpy as np
import xgboost

folder, (train, test, features, threads, depth, leaves, trees) = sys.argv[1], map(int, sys.argv[2:])
x = np.ascontiguousarray(np.fromfile(folder + '/columns.f32', np.float32).reshape(features, train + test).T)
y = np.fromfile(folder + '/labels.f32', np.float32)
parameters = {
    'objective': 'binary:logistic', 'tree_method': 'hist', 'max_bin': 255, 'eta': 0.1, 'nthread': threads,
    'max_depth': depth, 'max_leaves': leaves, 'grow_policy': 'lossguide' if leaves else 'depthwise',
    'min_child_weight': 1e-3, 'lambda': 0,
}
begun = time.perf_counter()
data = xgboost.DMatrix(x[:train], y[:train], nthread=threads)
# The first round makes the bins: an update of no consequence would hide their cost.
model = xgboost.Booster(parameters, [data])
model.update(data, 0)
first = time.perf_counter() - begun
for i in range(1, trees):
    model.update(data, i)
total = time.perf_counter() - begun
boosting = (total - first) * trees / (trees - 1)
scores = model.predict(xgboost.DMatrix(x[train:]), output_margin=True)
print(json.dumps({
    'version': xgboost.__version__, 'total': total, 'binning': total - boosting, 'boosting': boosting,
    'scores': [float(s) for s in scores],
}))
