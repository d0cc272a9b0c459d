# LightGBM or XGBoost on tables as bench/evaluate has them: trains on each split of the rows, writes raw scores of its
# test rows.
# usage: gbdt_step.py FOLDER lightgbm|xgboost float32|float64 ROWS FEATURES SPLITS THREADS TREES LEAVES [CATEGORICAL,…]
# FOLDER: columns.bin (features, rows), labels.f32 (rows), roles.u8 (splits, rows) with 1 to train and 2 to test;
# receives scores.f64 (splits, rows), NaN where nothing was asked for
import json
import sys

import numpy as np

folder, kind, number = sys.argv[1:4]
rows, features, splits, threads, trees, leaves = map(int, sys.argv[4:10])
categorical = [int(f) for f in sys.argv[10].split(',')] if len(sys.argv) > 10 else []
x = np.ascontiguousarray(np.fromfile(folder + '/columns.bin', number).reshape(features, rows).T)
y = np.fromfile(folder + '/labels.f32', np.float32)
roles = np.fromfile(folder + '/roles.u8', np.uint8).reshape(splits, rows)
scores = np.full((splits, rows), np.nan)

if kind == 'lightgbm':
    import lightgbm as peer

    parameters = {
        'objective': 'binary', 'num_leaves': leaves, 'learning_rate': 0.1, 'max_bin': 255, 'num_threads': threads,
        'verbosity': -1, 'force_col_wise': True,
    }

    def fit(train, test):
        data = peer.Dataset(x[train], y[train], categorical_feature=categorical)
        return peer.train(parameters, data, trees).predict(x[test], raw_score=True)
else:
    import xgboost as peer

    parameters = {
        'objective': 'binary:logistic', 'tree_method': 'hist', 'max_bin': 255, 'eta': 0.1, 'nthread': threads,
        'max_depth': 0, 'max_leaves': leaves, 'grow_policy': 'lossguide', 'min_child_weight': 1e-3, 'lambda': 0,
    }
    types = ['c' if f in categorical else 'q' for f in range(features)]

    def matrix(wanted):
        return peer.DMatrix(x[wanted], y[wanted], nthread=threads, feature_types=types, enable_categorical=True)

    def fit(train, test):
        return peer.train(parameters, matrix(train), trees).predict(matrix(test), output_margin=True)

for split in range(splits):
    test = roles[split] == 2
    scores[split][test] = fit(roles[split] == 1, test)
scores.tofile(folder + '/scores.f64')
print(json.dumps({'version': peer.__version__}))
