# scikit-learn from the system's packages: reads columns and labels of float32, fits, predicts, prints one JSON line.
# usage: sklearn_step.py FOLDER forest|isolation|kmeans TRAIN_ROWS TEST_ROWS FEATURES THREADS SIZE
# SIZE: trees, or clusters
import json
import sys
import time

import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier

folder, kind, (train, test, features, threads, size) = sys.argv[1], sys.argv[2], map(int, sys.argv[3:])
x = np.ascontiguousarray(np.fromfile(folder + '/columns.f32', np.float32).reshape(features, train + test).T)
learn, held = x[:train], x[train:]
result = {'version': sklearn.__version__}
if kind == 'forest':
    model = RandomForestClassifier(size, min_samples_leaf=5, max_leaf_nodes=256, n_jobs=threads, random_state=0)
    y = np.fromfile(folder + '/labels.f32', np.float32)[:train]
    work = lambda: model.fit(learn, y)
    predict = lambda: model.predict_proba(held)[:, 1].tolist()
elif kind == 'isolation':
    model = IsolationForest(n_estimators=size, n_jobs=threads, random_state=0)
    work = lambda: model.fit(learn)
    predict = lambda: (-model.score_samples(learn)).tolist()
else:
    model = KMeans(size, n_init=1, algorithm='lloyd', tol=1e-4, max_iter=300, random_state=0)
    work = lambda: model.fit(learn)
    predict = lambda: []
begun = time.perf_counter()
work()
fitted = time.perf_counter()
scores = predict()
result.update({'fit': fitted - begun, 'predict': time.perf_counter() - fitted, 'scores': scores})
if kind == 'kmeans':
    result.update({'inertia': float(model.inertia_), 'iterations': int(model.n_iter_)})
print(json.dumps(result))
