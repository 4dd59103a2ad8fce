"""All that another author writes to hold a serializer to the contract."""

import pytest
from thresholds import Threshold
from thresholds.modelkeep import serializer

from modelkeep.testing.serializers import SerializerContract


class TestThresholds(SerializerContract):
    @pytest.fixture
    def serializer(self):
        return serializer

    @pytest.fixture
    def examples(self):
        return [Threshold(0.5), Threshold(-1.0)]
