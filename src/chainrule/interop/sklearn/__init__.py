"""scikit-learn: a network as an estimator, for its pipelines, searches and ensembles.

    from chainrule.interop.sklearn import Classifier

    pipeline = make_pipeline(StandardScaler(), Classifier())
    search = GridSearchCV(pipeline, {"classifier__learning_rate": [1e-3, 1e-2]})

An estimator has parameters, which a search varies, and the results of `fit`, whose names end with
an underscore. Here the parameters are the arguments of `Trainer` and of its `fit`, and the fields
of the objects among them: ``model__dense_1__units`` is the width of the first `Dense` of the model.

    classifier     Classifier: one or several labels, or several yes-or-no answers, for each row
    regressor      Regressor: one or several numbers for each row
    estimator      what both share: fit, partial_fit, and the training
    output_layer   the layer that is added for the classes or targets
    parameters     the parameters of a model, an optimizer or a loss, by name
    weights        the weights of samples and classes
"""

from __future__ import annotations

from chainrule.core.extras import required

required("sklearn", "interop.sklearn needs")

from chainrule.interop.sklearn.classifier import Classifier  # noqa: E402
from chainrule.interop.sklearn.regressor import Regressor  # noqa: E402

__all__ = ["Classifier", "Regressor"]
