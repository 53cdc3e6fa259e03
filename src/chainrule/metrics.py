"""The public path of `chainrule.training.metrics`."""

import sys
from typing import TYPE_CHECKING

from chainrule.training import metrics as module

if TYPE_CHECKING:
    from chainrule.training.class_metrics import F1 as F1
    from chainrule.training.class_metrics import Precision as Precision
    from chainrule.training.class_metrics import Recall as Recall
    from chainrule.training.class_metrics import TopAccuracy as TopAccuracy
    from chainrule.training.class_metrics import confusion_matrix as confusion_matrix
    from chainrule.training.metric import Metric as Metric
    from chainrule.training.metrics import accuracy as accuracy
    from chainrule.training.metrics import binary_accuracy as binary_accuracy
    from chainrule.training.number_metrics import R2 as R2
    from chainrule.training.number_metrics import RootMeanSquaredError as RootMeanSquaredError

sys.modules[__name__] = module
